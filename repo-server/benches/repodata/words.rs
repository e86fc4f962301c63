//! The vocabulary that names, paths and texts of the made-up distribution come from.

use std::sync::LazyLock;

/// 256 words; the number is what makes names of two of them distinct.
pub static WORDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let words: Vec<&str> = TEXT.split_ascii_whitespace().collect();
    assert_eq!(words.len(), 256);
    words
});

const TEXT: &str = "
the of and to a for with library files that tools support from is data used by this package can
system which network client server file format standard simple interface access header module control
language python text image audio video color font table index store query object stream buffer event
signal thread socket packet filter route proxy cache queue graph tree node edge vector matrix number
random prime hash digest cipher token secret session account profile policy audit trace metric log
report chart panel widget window canvas layout theme icon cursor brush pixel shader mesh scene camera
lens photo album movie player mixer tuner sound voice speech phoneme lexer parser grammar syntax macro
compiler linker loader kernel driver device sensor motor robot pilot drone orbit lunar solar stellar
galaxy comet meteor cloud storm river delta ocean coral reef shore island harbor anchor vessel cargo
wagon rail bridge tunnel tower castle garden orchard meadow forest timber cedar maple birch willow
aspen falcon raven heron otter badger lynx cobra gecko salmon trout hornet beetle cricket spider ember
flint quartz basalt cobalt nickel copper silver amber ivory velvet linen cotton hemp needle thimble
loom spindle ribbon button pocket lantern candle mirror shutter compass sextant ledger tally abacus
slate chalk marker pencil folio quarto vellum scroll stanza sonnet ballad opera cello viola banjo
piccolo timpani cymbal gong chime bell echo reverb tremolo vibrato octave tempo meter rhythm cadence
fugue prelude minuet waltz tango rumba samba polka bolero mazurka polonaise gavotte sarabande galliard
pavane jig reel hornpipe bourree courante allemande passacaglia";
