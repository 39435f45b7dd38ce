//! The tables that are asked about; the test that starts this program makes them.

use crate::mood::MoodType;

diesel::table! {
    accounts (id) {
        id -> Int4,
        name -> Text,
        balance -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::{Int4, Int8};
    use super::MoodType;

    entries (id) {
        id -> Int8,
        owner -> Int4,
        n -> Int4,
        mood -> MoodType,
    }
}

diesel::table! {
    counters (owner) {
        owner -> Int4,
        n -> Int4,
    }
}
