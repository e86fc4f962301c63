//! On which continent a country is (ISO 3166-1; where a country has parts on several, the one of its
//! capital).

use repo_model::Country;

/// A continent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continent {
    /// Africa.
    Africa,
    /// Antarctica.
    Antarctica,
    /// Asia.
    Asia,
    /// Europe.
    Europe,
    /// North and Central America, the Caribbean.
    NorthAmerica,
    /// Australia and the Pacific.
    Oceania,
    /// South America.
    SouthAmerica,
}

const TABLE: &[(Continent, &str)] = &[
    (
        Continent::Africa,
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW \
         MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    ),
    (Continent::Antarctica, "AQ BV GS HM TF"),
    (
        Continent::Asia,
        "AE AF AM AZ BD BH BN BT CC CN CX CY GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO \
         MV MY NP OM PH PK PS QA SA SG SY TH TJ TL TM TR TW UZ VN YE",
    ),
    (
        Continent::Europe,
        "AD AL AT AX BA BE BG BY CH CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD \
         ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    ),
    (
        Continent::NorthAmerica,
        "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV \
         SX TC TT US VC VG VI",
    ),
    (
        Continent::Oceania,
        "AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TO TV UM VU WF WS",
    ),
    (
        Continent::SouthAmerica,
        "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
    ),
];

/// [`TABLE`] by the two letters of the code: this is asked of every mirror for every client.
const BY_LETTERS: [Option<Continent>; LETTERS * LETTERS] = by_letters();

const LETTERS: usize = 26;

const fn by_letters() -> [Option<Continent>; LETTERS * LETTERS] {
    let mut continents = [None; LETTERS * LETTERS];
    let mut row = 0;
    while row < TABLE.len() {
        let (continent, codes) = TABLE[row];
        let codes = codes.as_bytes();
        let mut at = 0;
        while at < codes.len() {
            continents[place(codes[at], codes[at + 1])] = Some(continent);
            at += 3;
        }
        row += 1;
    }
    continents
}

const fn place(first: u8, second: u8) -> usize {
    (first - b'A') as usize * LETTERS + (second - b'A') as usize
}

/// The continent of a country; none for letters that are no country's.
pub fn continent_of(country: Country) -> Option<Continent> {
    let [first, second] = country.letters();
    BY_LETTERS[place(first, second)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_is_on_one_continent() {
        let all: Vec<&str> = TABLE
            .iter()
            .flat_map(|(_, codes)| codes.split_whitespace())
            .collect();
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
        assert_eq!(all.len(), 250);
        for code in &all {
            assert!(continent_of(code.parse().unwrap()).is_some(), "{code}");
        }
        assert_eq!(
            continent_of("NZ".parse().unwrap()),
            Some(Continent::Oceania)
        );
        assert_eq!(continent_of("ZZ".parse().unwrap()), None);
    }
}
