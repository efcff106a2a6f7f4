//! Sets of words, and which words say what happened.

/// Slots of a set's table; a power of two, sparse.
const SLOTS: usize = 1024;

/// Words in lower case that begin and end with letters, with a blank between them: a hash table that is built by the compiler.
pub struct Words {
    words: &'static str,
    /// For each first letter a bit for each last one: most other words are passed over by these.
    ends: [u32; 26],
    /// Where a word begins, and 1; 0 is empty.
    slots: [u16; SLOTS],
}

/// The slot of a word of two letters or more, in any case.
const fn slot(word: &[u8], from: usize, to: usize) -> usize {
    let ends = (word[from] | 0x20) as u32
        | ((word[from + 1] | 0x20) as u32) << 8
        | ((word[to - 1] | 0x20) as u32) << 16;
    let mixed = (ends | ((to - from) as u32) << 24).wrapping_mul(0x9e37_79b1);
    (mixed >> 22) as usize & (SLOTS - 1)
}

impl Words {
    pub const fn new(words: &'static str) -> Words {
        let bytes = words.as_bytes();
        let (mut ends, mut slots) = ([0; 26], [0; SLOTS]);
        let (mut first, mut at, mut count) = (0, 0, 0);
        while at <= bytes.len() {
            if at == bytes.len() || bytes[at] == b' ' {
                ends[(bytes[first] - b'a') as usize] |= 1 << (bytes[at - 1] - b'a');
                let mut slot = slot(bytes, first, at);
                while slots[slot] != 0 {
                    slot = (slot + 1) & (SLOTS - 1);
                }
                slots[slot] = first as u16 + 1;
                first = at + 1;
                count += 1;
            }
            at += 1;
        }
        assert!(count * 2 < SLOTS && bytes.len() < u16::MAX as usize, "the table is sparse");
        Words { words, ends, slots }
    }

    /// Whether the word is one of these, in any case.
    #[inline]
    pub fn has(&self, word: &[u8]) -> bool {
        let [first, .., last] = word else { return false };
        let (first, last) = ((first | 0x20).wrapping_sub(b'a'), (last | 0x20).wrapping_sub(b'a'));
        let ends = self.ends.get(usize::from(first));
        ends.is_some_and(|ends| last < 26 && ends & (1 << last) != 0) && self.find(word)
    }

    fn find(&self, word: &[u8]) -> bool {
        let mut slot = slot(word, 0, word.len());
        while let Some(from) = self.slots[slot].checked_sub(1) {
            let here = &self.words.as_bytes()[usize::from(from)..];
            let is_whole = here.get(word.len()).is_none_or(|byte| *byte == b' ');
            if is_whole && here.len() >= word.len() && word.eq_ignore_ascii_case(&here[..word.len()]) {
                return true;
            }
            slot = (slot + 1) & (SLOTS - 1);
        }
        false
    }
}

/// What a name may follow: `container agent`, `queue mail`. (Words whose followers say what happened, as `state`, are not here.)
pub static KINDS: Words = Words::new(
    "backend bucket clocksource column connector container crate cronjob daemonset dag database deployment \
     device feature governor group index interface item job module namespace node package plugin pool queue \
     scheduler schema service statefulset table tenant topic type unit user variable volume worker workflow \
     zone",
);

/// Of these, parts are called by what they do (`container writer`); behind the others such a word is a part of the program (`job
/// scheduler`, `user agent`).
pub static OF_PARTS: Words = Words::new("clocksource container governor group scheduler");

/// Names of levels, as loggers write them before a message.
pub static LEVELS: Words = Words::new(
    "alert crit critical dbg debug err error fatal ftl inf info notice panic severe trace trc warn warning wrn",
);

/// What is said of a thing that is named behind its noun: `unexpected token: UTC`.
pub static WRONG: Words = Words::new(
    "duplicate illegal invalid missing undeclared undefined unexpected unknown unrecognised unrecognized unresolved \
     unsupported",
);

/// Nouns behind which it is said what happened: `unexpected error: ..`.
pub static REASONS: Words =
    Words::new("code error exception failure problem reason request response result state status");

/// `summary for jdk`: what was counted.
pub static REPORTS: Words = Words::new("metrics report results statistics stats summary totals usage");

/// What may follow a name: the verb, or a preposition.
static BEHIND: Words = Words::new(
    "after again against already and are as at because before but by can cannot could did do does down due \
     during empty exits for from full gone had has have healthy idle if in into is lost may must no not now \
     of off on or out over ready run should since still than that through to under unhealthy until up via was \
     went were when which while will with without would",
);

/// Words that name nothing where a name might stand: of the grammar, how something is, what is done, and parts of a longer name of a
/// kind (`container runtime`).
static KEPT: Words = Words::new(
    "abort about absent access account accounts add address after again against age alive all already also an \
     and another any are as at automatic backup bad batch be became because becomes been before began begin \
     behind better between bind both broke broken buffer build busy but by cache call calls came can \
     candidate cannot cast change changes check checks class clean client clients cluster code cold come \
     commit config connect copy corrupt could count crash create critical data date dead deadline debug \
     default delete did die dies dirty disconnect disk do does done down drop dump during each early either \
     empty end ends engine entries entry error event events every exist exists exit exits export external \
     fail fails false fast fatal field fields file files find first flag flags flush follower for found free \
     fresh from full gave get give global go goes gone good got green had hang has have he healthy heap held \
     her here high higher his hit hold host hot how hung id idle ids if illegal image images import in info \
     init input internal interval into invalid is it its join just keep kept key keys kill kind large last \
     late leader least leave left length less level limit limits list live load local lock log login logout \
     logs long loose lose lost loud low lower made make manual map master match max maximum may member \
     members memory merge message metadata might min minimum mismatch miss mode more most mount move must my \
     name names needs neither network never new next nil no none nor normal not now null number of off \
     offline offset ok old on one online only onto open option options or other our out output over partial \
     password path peer peers per phase pod port present previous primary private probe process public pull \
     push put query quiet quit quota ran rate read read-only ready reason reboot record records red reload \
     remote remove replica request requests reset restart result retry returns right role route row rows rule \
     rules run runtime safe sandbox scale scan secondary secret send sent server servers set short should \
     sick silent since size slave sleep slow small so socket some space split stack stale standby start state \
     status steady still stop stuck switch sync take task tasks than that the their then there these they \
     this those thread threads through time timeout to token took total trace true two under unhealthy \
     unknown unless unlock unsafe unstable until up update upgrade users uses valid value values via view \
     wait waits warn was we well went were what when where which while who why will with within without worse \
     would writable write written wrong wrote yellow yes you your",
);

/// A word that says what happened, or how something is, or is a part of a longer name of a kind.
pub fn is_kept(word: &[u8]) -> bool {
    const ENDS: [&str; 18] = [
        "ed", "ing", "ion", "ions", "ment", "ness", "ity", "able", "ible", "ful", "less", "ous", "ly",
        "ance", "ence", "ure", "ship", "ive",
    ];
    let tail = &word[word.len().saturating_sub(4)..];
    let ends = |end: &str| {
        tail.len() >= end.len() && tail[tail.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
    };
    word.len() < 2 || KINDS.has(word) || KEPT.has(word) || ENDS.iter().any(|end| ends(end))
}

/// A part of a program is called by what it does.
pub fn is_of_part(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_alphabetic)
        && (word.ends_with(b"er") || word.ends_with(b"or") || matches!(word, b"agent" | b"daemon"))
}

/// A word that may follow a name.
pub fn may_be_behind(word: &[u8]) -> bool {
    BEHIND.has(word) || (word.len() > 4 && (word.ends_with(b"ed") || word.ends_with(b"ing")))
}

#[cfg(test)]
mod tests {
    use super::{BEHIND, KEPT, KINDS, is_kept, may_be_behind};

    #[test]
    fn words_are_found_in_any_case_and_names_are_none() {
        for word in ["container", "Container", "QUEUE", "clocksource"] {
            assert!(KINDS.has(word.as_bytes()), "{word}");
        }
        for word in ["", "c", "containers", "writer", "\u{e9}", "container-1"] {
            assert!(!KINDS.has(word.as_bytes()), "{word}");
        }
        for word in ["failed", "Starting", "unavailable", "version", "of", "OFFLINE", "pod", "x"] {
            assert!(is_kept(word.as_bytes()), "{word}");
        }
        for word in ["kafka", "orders", "mq-deadline", "bfq", "admin"] {
            assert!(!is_kept(word.as_bytes()), "{word}");
        }
        assert!(may_be_behind(b"registered") && may_be_behind(b"is") && !may_be_behind(b"image"));
    }

    #[test]
    fn no_word_is_in_a_set_twice() {
        for set in [&KINDS, &BEHIND, &KEPT] {
            let mut sorted: Vec<&str> = set.words.split(' ').collect();
            sorted.sort_unstable();
            assert!(sorted.windows(2).all(|two| two[0] != two[1]), "{sorted:?}");
        }
    }
}
