//! Users of tests, by number: the ids of half of them are numbers, those of the others texts.

use purser::ledger::id::UserId;
use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    /// The texts so far, kept for ever.
    static TEXTS: RefCell<HashMap<u64, &'static str>> = RefCell::default();
}

/// The id of user `user` as it is on the wire.
pub fn name(user: u64) -> String {
    match user % 4 {
        1 => format!("users:{user}"),
        3 => format!("{user:->64}"),
        _ => user.to_string(),
    }
}

/// The id of user `user`.
pub fn id(user: u64) -> UserId<'static> {
    if user.is_multiple_of(2) {
        return UserId::Number(user);
    }
    TEXTS.with_borrow_mut(|texts| {
        let text = texts.entry(user).or_insert_with(|| name(user).leak());
        UserId::Text(text.as_bytes())
    })
}

/// The user with this [name]; `None` if there is none.
pub fn of_name(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("users:").unwrap_or(text).trim_start_matches('-');
    digits.parse().ok().filter(|&user| name(user) == text)
}

/// The user with this id, which must be one of [id].
pub fn of(user: UserId<'_>) -> u64 {
    of_name(&user.to_string()).expect("an id of a test's user")
}

#[test]
fn names_and_ids_belong_to_one_user() {
    for user in (0..100).chain(u64::MAX - 100..=u64::MAX) {
        assert_eq!(id(user), UserId::parse(name(user).as_bytes()).expect("a valid id"));
        assert_eq!((of(id(user)), of_name(&name(user))), (user, Some(user)));
    }
    assert_eq!(["", "users:2", "1", "x"].map(of_name), [None; 4]);
}
