//! Finds the known name that is nearest to a misspelt one.

/// Returns `; did you mean `x`?` with the nearest of `known`, or nothing if none is near.
pub(crate) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(known) => format!("; did you mean `{known}`?"),
        None => String::new(),
    }
}

/// The known name that takes the fewest edits. They must be few for the length of the name.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let limit = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|known| {
            (
                strsim::osa_distance(&name, &known.to_ascii_lowercase()),
                known,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_edits_win_and_far_names_are_not_suggested() {
        assert_eq!(nearest("mxa", ["max", "min"]), Some("max"));
        assert_eq!(
            nearest("checkout_timout", ["checkout_timeout"]),
            Some("checkout_timeout")
        );
        assert_eq!(nearest("colour", ["max", "min_idle"]), None);
    }
}
