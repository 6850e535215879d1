//! Maps of user and group ids: user_namespaces(7).

/// User ids for sandboxes of root: each sandbox has its own, so that none shares limits or rights with another. Above
/// what distributions give to users and subordinate ids by default, and below 2,097,152, the last that ustar archives
/// can hold.
const FIRST: u32 = 1_966_080;
const IDS: u32 = 65_536;

/// The user id of one sandbox, by a number that no other has at the same time.
pub fn of_sandbox(number: u32) -> u32 {
    FIRST + number % IDS
}

/// Lines of an id map that show `from` as `to` and every other id as itself. An id on disk that happens to be `to`
/// shows as nobody's.
pub fn map(from: u32, to: u32) -> String {
    const LAST: u32 = u32::MAX - 1;
    let mut lines = Vec::new();
    let mut next = 0;
    let (low, high) = (from.min(to), from.max(to));
    for hole in if low == high { vec![low] } else { vec![low, high] } {
        if hole > next {
            lines.push(format!("{next} {next} {}", hole - next));
        }
        next = hole + 1;
    }
    if next <= LAST {
        lines.push(format!("{next} {next} {}", LAST - next));
    }
    lines.push(format!("{from} {to} 1"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn an_id_map_swaps_one_id_and_keeps_the_rest() {
        assert_eq!(map(0, 5), "1 1 4\n6 6 4294967288\n0 5 1");
        assert_eq!(map(1000, 2000), "0 0 1000\n1001 1001 999\n2001 2001 4294965293\n1000 2000 1");
        assert_eq!(map(7, 7), "0 0 7\n8 8 4294967286\n7 7 1");
    }
}
