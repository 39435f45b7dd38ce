//! The table of `migrations/`.

diesel::table! {
    orders (id) {
        id -> BigInt,
        reference -> Text,
        item -> Text,
        amount -> BigInt,
    }
}
