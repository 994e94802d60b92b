/// The entry of `known` that is most like `text`, if it takes at most two edits (insert, delete,
/// replace, swap of neighbours) and fewer than half of the characters change. Case is an edit only
/// when nothing else differs.
pub fn closest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_lowercase();
    known
        .into_iter()
        .filter(|candidate| {
            // Most are out by their length, before anything is copied.
            !text.is_ascii() || !candidate.is_ascii() || text.len().abs_diff(candidate.len()) <= 2
        })
        .filter_map(|candidate| {
            let edits = distance(&lower, &candidate.to_lowercase());
            let long_enough = candidate.chars().count().max(lower.chars().count()) > edits * 2;
            (edits <= 2 && long_enough).then_some((edits, candidate))
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance; texts that differ by more than two in length are not looked
/// at.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 2 || a.len() > 256 {
        return usize::MAX / 4;
    }
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_two_edits_are_a_suggestion() {
        let known = ["weight", "name", "port"];
        assert_eq!(closest("wieght", known), Some("weight"));
        assert_eq!(closest("Weight", known), Some("weight"));
        assert_eq!(closest("weigth", known), Some("weight"));
        assert_eq!(closest("nmae", known), Some("name"));
        assert_eq!(closest("w", known), None);
        assert_eq!(closest("timeouts", known), None);
        assert_eq!(closest("pt", known), None);
    }
}
