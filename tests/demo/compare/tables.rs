//! The tables of `migrations/`, as far as the comparison reads and writes them.

diesel::table! {
    accounts (id) {
        id -> BigInt,
        balance -> BigInt,
    }
}

diesel::table! {
    transfers (id) {
        id -> BigInt,
        from_account -> BigInt,
        to_account -> BigInt,
        amount -> BigInt,
    }
}

diesel::table! {
    entries (id) {
        id -> BigInt,
        transfer -> BigInt,
        account -> BigInt,
        delta -> BigInt,
    }
}
