//! Numbers of the tags that RPM headers use, and their names for messages.
//!
//! The main header and the signature header are two name spaces: 1000 is NAME in one and the size
//! in the other; constants of the second start with `SIG_`. Source: rpm `include/rpm/rpmtag.h`.

macro_rules! tags {
    ($table:ident $($name:ident = $number:literal,)+) => {
        $(
            #[doc = concat!("Tag ", stringify!($number), ".")]
            pub const $name: u32 = $number;
        )+
        static $table: &[(u32, &str)] = &[$(($number, stringify!($name)),)+];
    };
}

/// Region of the main header as rpm 3.0.x wrote it.
pub const HEADERIMAGE: u32 = 61;

tags! { MAIN
    HEADERIMMUTABLE = 63,
    HEADERI18NTABLE = 100,
    NAME = 1000,
    VERSION = 1001,
    RELEASE = 1002,
    EPOCH = 1003,
    SUMMARY = 1004,
    DESCRIPTION = 1005,
    BUILDTIME = 1006,
    BUILDHOST = 1007,
    SIZE = 1009,
    DISTRIBUTION = 1010,
    VENDOR = 1011,
    LICENSE = 1014,
    PACKAGER = 1015,
    GROUP = 1016,
    SOURCE = 1018,
    PATCH = 1019,
    URL = 1020,
    OS = 1021,
    ARCH = 1022,
    PREIN = 1023,
    POSTIN = 1024,
    PREUN = 1025,
    POSTUN = 1026,
    OLDFILENAMES = 1027,
    FILESIZES = 1028,
    FILEMODES = 1030,
    FILERDEVS = 1033,
    FILEMTIMES = 1034,
    FILEDIGESTS = 1035,
    FILELINKTOS = 1036,
    FILEFLAGS = 1037,
    FILEUSERNAME = 1039,
    FILEGROUPNAME = 1040,
    SOURCERPM = 1044,
    FILEVERIFYFLAGS = 1045,
    ARCHIVESIZE = 1046,
    PROVIDENAME = 1047,
    REQUIREFLAGS = 1048,
    REQUIRENAME = 1049,
    REQUIREVERSION = 1050,
    NOSOURCE = 1051,
    NOPATCH = 1052,
    CONFLICTFLAGS = 1053,
    CONFLICTNAME = 1054,
    CONFLICTVERSION = 1055,
    EXCLUDEARCH = 1059,
    EXCLUSIVEARCH = 1061,
    RPMVERSION = 1064,
    TRIGGERSCRIPTS = 1065,
    TRIGGERNAME = 1066,
    TRIGGERVERSION = 1067,
    TRIGGERFLAGS = 1068,
    VERIFYSCRIPT = 1079,
    CHANGELOGTIME = 1080,
    CHANGELOGNAME = 1081,
    CHANGELOGTEXT = 1082,
    PREINPROG = 1085,
    POSTINPROG = 1086,
    PREUNPROG = 1087,
    POSTUNPROG = 1088,
    BUILDARCHS = 1089,
    OBSOLETENAME = 1090,
    COOKIE = 1094,
    FILEDEVICES = 1095,
    FILEINODES = 1096,
    FILELANGS = 1097,
    PREFIXES = 1098,
    SOURCEPACKAGE = 1106,
    PROVIDEFLAGS = 1112,
    PROVIDEVERSION = 1113,
    OBSOLETEFLAGS = 1114,
    OBSOLETEVERSION = 1115,
    DIRINDEXES = 1116,
    BASENAMES = 1117,
    DIRNAMES = 1118,
    OPTFLAGS = 1122,
    DISTURL = 1123,
    PAYLOADFORMAT = 1124,
    PAYLOADCOMPRESSOR = 1125,
    PAYLOADFLAGS = 1126,
    PLATFORM = 1132,
    FILECOLORS = 1140,
    FILECLASS = 1141,
    CLASSDICT = 1142,
    FILEDEPENDSX = 1143,
    FILEDEPENDSN = 1144,
    DEPENDSDICT = 1145,
    SOURCEPKGID = 1146,
    PRETRANS = 1151,
    POSTTRANS = 1152,
    OLDSUGGESTSNAME = 1156,
    OLDSUGGESTSVERSION = 1157,
    OLDSUGGESTSFLAGS = 1158,
    OLDENHANCESNAME = 1159,
    OLDENHANCESVERSION = 1160,
    OLDENHANCESFLAGS = 1161,
    LONGFILESIZES = 5008,
    LONGSIZE = 5009,
    FILECAPS = 5010,
    FILEDIGESTALGO = 5011,
    BUGURL = 5012,
    VCS = 5034,
    ORDERNAME = 5035,
    ORDERVERSION = 5036,
    ORDERFLAGS = 5037,
    RECOMMENDNAME = 5046,
    RECOMMENDVERSION = 5047,
    RECOMMENDFLAGS = 5048,
    SUGGESTNAME = 5049,
    SUGGESTVERSION = 5050,
    SUGGESTFLAGS = 5051,
    SUPPLEMENTNAME = 5052,
    SUPPLEMENTVERSION = 5053,
    SUPPLEMENTFLAGS = 5054,
    ENHANCENAME = 5055,
    ENHANCEVERSION = 5056,
    ENHANCEFLAGS = 5057,
    ENCODING = 5062,
    PAYLOADSHA256 = 5092,
    PAYLOADSHA256ALGO = 5093,
    MODULARITYLABEL = 5096,
    PAYLOADSHA256ALT = 5097,
    SPEC = 5099,
    TRANSLATIONURL = 5100,
    PAYLOADSIZE = 5112,
    PAYLOADSIZEALT = 5113,
    RPMFORMAT = 5114,
    FILEMIMEINDEX = 5115,
    MIMEDICT = 5116,
    SOURCENEVR = 5120,
    PAYLOADSHA512 = 5121,
    PAYLOADSHA512ALT = 5122,
    PAYLOADSHA3_256 = 5123,
    PAYLOADSHA3_256ALT = 5124,
}

tags! { SIGNATURE
    SIG_HEADERSIGNATURES = 62,
    SIG_DSAHEADER = 267,
    SIG_RSAHEADER = 268,
    SIG_SHA1HEADER = 269,
    SIG_LONGSIZE = 270,
    SIG_LONGARCHIVESIZE = 271,
    SIG_SHA256HEADER = 273,
    SIG_FILESIGNATURES = 274,
    SIG_FILESIGNATURELENGTH = 275,
    SIG_VERITYSIGNATURES = 276,
    SIG_VERITYSIGNATUREALGO = 277,
    SIG_OPENPGP = 278,
    SIG_SHA3_256HEADER = 279,
    SIG_RESERVED = 999,
    SIG_SIZE = 1000,
    SIG_PGP = 1002,
    SIG_MD5 = 1004,
    SIG_GPG = 1005,
    SIG_PGP5 = 1006,
    SIG_PAYLOADSIZE = 1007,
    SIG_RESERVEDSPACE = 1008,
}

/// Name of a tag of the main header, without the `RPMTAG_` prefix; `None` when it is not in our table.
pub fn name(tag: u32) -> Option<&'static str> {
    look_up(MAIN, tag)
}

/// Name of a tag of the signature header; `None` when it is not in our table.
pub fn signature_name(tag: u32) -> Option<&'static str> {
    look_up(SIGNATURE, tag).map(|name| name.trim_start_matches("SIG_"))
}

fn look_up(table: &'static [(u32, &'static str)], tag: u32) -> Option<&'static str> {
    let row = table
        .binary_search_by_key(&tag, |(number, _)| *number)
        .ok()?;
    table.get(row).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_so_that_every_tag_finds_its_name() {
        for table in [MAIN, SIGNATURE] {
            assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
        assert_eq!(name(NAME), Some("NAME"));
        assert_eq!(name(PAYLOADSHA3_256ALT), Some("PAYLOADSHA3_256ALT"));
        assert_eq!(name(4), None);
        assert_eq!(signature_name(1000), Some("SIZE"));
    }
}
