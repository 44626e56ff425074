//! Tests of the model: hand-computed cases of the contract, and real data with results from a bank
//! and from another program.
//!
//! All use the model's public interface: lines and targets in, verdicts and text out.

mod committed;

use super::json::{self, Value};
use super::stats::{DAY, HOUR, MAX_TIME, MINUTE};
use super::{Model, Verdict};

const NOW: u64 = 1_763_900_000_000;

/// A line of user 42: the ids, then the members of `rest`.
fn line(id: &str, rest: &str) -> String {
    format!(r#"{{"entry_id":"{id}","user_id":"42",{rest}}}"#)
}

fn posted(id: &str, group: &str, amount: i64, at_ms: i64) -> String {
    let mut group = group.split(' ');
    let mut next = || group.next().expect("currency kind direction");
    let (currency, kind, direction) = (next(), next(), next());
    line(
        id,
        &format!(
            "\"currency\":\"{currency}\",\"kind\":\"{kind}\",\"direction\":\"{direction}\",\
             \"amount\":{amount},\"at_ms\":{at_ms}"
        ),
    )
}

fn hold(id: &str, group: &str, amount: i64, at_ms: i64) -> String {
    posted(id, group, amount, at_ms).replace('}', r#","state":"pending"}"#)
}

fn settle(id: &str, pending_id: &str, amount: i64, at_ms: i64) -> String {
    line(id, &format!(r#""amount":{amount},"at_ms":{at_ms},"pending_id":"{pending_id}""#))
}

fn void(id: &str, pending_id: &str, at_ms: i64) -> String {
    line(id, &format!(r#""at_ms":{at_ms},"state":"voided","pending_id":"{pending_id}""#))
}

/// A verdict as short text: `ok`, `duplicate`, or code and field.
fn told(verdict: Verdict) -> String {
    match verdict {
        Verdict::Accepted => "ok".to_owned(),
        Verdict::Duplicate { .. } => "duplicate".to_owned(),
        Verdict::Rejected { code, field, .. } => {
            format!("{} {field}", code.name()).trim_end().to_owned()
        }
    }
}

/// Applies lines one after another and compares each verdict with the expected one beside it.
fn check(model: &mut Model, rows: &[(String, &str)]) {
    check_at(model, 9_000_000_000_000, rows);
}

fn check_at(model: &mut Model, now_ms: u64, rows: &[(String, &str)]) {
    for (index, (line, wanted)) in rows.iter().enumerate() {
        let met = told(model.apply_line(now_ms, false, line.as_bytes()));
        assert_eq!(met, *wanted, "row {index}: {line}");
    }
}

fn body(model: &Model, target: &str) -> String {
    model.get(NOW, target).body
}

fn balances(model: &Model) -> String {
    let body = body(model, "/v1/users/42/balance");
    let (_, balances) = body.split_once(r#""balances":"#).expect("a balance");
    balances.replace(r#""currency":"#, "").replace('"', "")
}

/// Checks the range of a statistics answer for a user whose only entry is at `latest`.
fn check_range(latest: i64, at_ms: i64, window: &str, wanted: (i64, i64)) {
    let mut model = Model::new();
    check_at(
        &mut model,
        latest.unsigned_abs(),
        &[(posted("1", "COIN gift credit", 5, latest), "ok")],
    );
    let at = match window {
        "lifetime" => String::new(),
        _ => format!("&at_ms={at_ms}"),
    };
    let body = body(&model, &format!("/v1/users/42/stats?window={window}{at}"));
    let (from, to) = wanted;
    let rows = match (from..to).contains(&latest) {
        true => {
            concat!(
                r#"{"currency":"COIN","kind":"gift","direction":"credit","count":1,"sum":5,"#,
                r#""min":5,"max":5}"#
            )
        }
        false => "",
    };
    let wanted =
        format!(r#"{{"user_id":"42","version":1,"from_ms":{from},"to_ms":{to},"stats":[{rows}]}}"#);
    assert_eq!(body, wanted, "latest {latest} at {at_ms} {window}");
}

/// Time in milliseconds from day, hour and minute.
fn t(day: i64, hour: i64, minute: i64) -> i64 {
    day * DAY + hour * HOUR + minute * MINUTE
}

/// N = day 1000 at 13:07, so F = day 999 at 11:00, H = day 992, D = day 600.
#[test]
fn ranges_of_an_old_user() {
    let latest = t(1000, 13, 7);
    let to = t(1000, 13, 15);
    let rows: &[(i64, &str, i64, i64)] = &[
        (latest, "15m", t(1000, 13, 0), to),
        (latest, "1h", t(1000, 12, 15), to),
        (latest, "24h", t(999, 13, 15), to),
        (latest, "1d", t(999, 13, 15), to),
        (latest, "1440m", t(999, 13, 15), to),
        (latest, "26h", t(999, 11, 15), to),
        (latest, "1575m", t(999, 11, 0), to), // from = F
        (latest, "1590m", t(999, 10, 0), to), // 10:45, by the hour
        (latest, "27h", t(999, 10, 0), to),
        (latest, "7d", t(993, 13, 0), to),
        (latest, "8d", t(992, 13, 0), to),
        (latest, "12315m", t(992, 0, 0), to), // from = H
        (latest, "12330m", t(991, 0, 0), to), // 991 at 23:45, by the day
        (latest, "9d", t(991, 0, 0), to),
        (latest, "399d", t(601, 0, 0), to),
        (latest, "400d", t(600, 0, 0), to), // from = 600 at 13:15
        (t(1000, 13, 14), "15m", t(1000, 13, 0), to),
        (t(1000, 13, 15) - 1, "15m", t(1000, 13, 0), to),
        (t(1000, 13, 15), "15m", t(1000, 13, 15), t(1000, 13, 30)),
        (t(1001, 13, 7), "24h", t(1000, 13, 15), t(1001, 13, 15)),
        (t(1500, 13, 7), "1d", t(1499, 13, 15), t(1500, 13, 15)),
        // F
        (t(999, 11, 0), "15m", t(999, 11, 0), t(999, 11, 15)),
        (t(999, 11, 0) - 1, "15m", t(999, 10, 0), t(999, 11, 0)),
        (t(999, 10, 45), "15m", t(999, 10, 0), t(999, 11, 0)),
        (t(999, 10, 45) - 1, "15m", t(999, 10, 0), t(999, 11, 0)),
        (t(999, 11, 20), "30m", t(999, 11, 0), t(999, 11, 30)),
        (t(999, 11, 20), "45m", t(999, 10, 0), t(999, 11, 30)),
        (t(999, 10, 0) - 1, "1h", t(999, 9, 0), t(999, 10, 0)),
        (t(999, 10, 0), "1h", t(999, 9, 0), t(999, 11, 0)),
        // H
        (t(992, 0, 0), "15m", t(992, 0, 0), t(992, 1, 0)),
        (t(992, 0, 0) - 1, "15m", t(991, 0, 0), t(992, 0, 0)),
        (t(992, 2, 50), "3h", t(992, 0, 0), t(992, 3, 0)),
        (t(992, 2, 50), "195m", t(991, 0, 0), t(992, 3, 0)),
        (t(991, 12, 0), "15m", t(991, 0, 0), t(992, 0, 0)),
        (t(990, 23, 50), "15m", t(990, 0, 0), t(991, 0, 0)),
        // D
        (t(600, 0, 0), "15m", t(600, 0, 0), t(601, 0, 0)),
        (t(600, 0, 0) - 1, "15m", t(600, 0, 0), t(600, 0, 0)),
        (t(600, 12, 0), "24h", t(600, 0, 0), t(601, 0, 0)),
        (t(599, 12, 0), "1d", t(600, 0, 0), t(600, 0, 0)),
        (t(100, 0, 0), "30d", t(600, 0, 0), t(600, 0, 0)),
        (0, "15m", t(600, 0, 0), t(600, 0, 0)),
        (0, "lifetime", 0, to),
    ];
    for (at_ms, window, from, to) in rows {
        check_range(latest, *at_ms, window, (*from, *to));
    }
}

#[test]
fn ranges_near_the_epoch_and_the_end_of_time() {
    let minute = |minutes: i64| minutes * MINUTE;
    let rows: &[(i64, i64, &str, i64, i64)] = &[
        (t(0, 1, 0), 0, "24h", 0, minute(15)),
        (t(0, 1, 0), 0, "400d", 0, minute(15)),
        (t(0, 1, 0), t(0, 2, 0), "1h", t(0, 1, 15), t(0, 2, 15)),
        (t(0, 27, 0) - 1, 0, "15m", 0, minute(15)), // F = 0
        (t(0, 27, 0), 0, "15m", 0, t(0, 1, 0)),     // F = 01:00
        (t(9, 0, 0) - 1, 0, "15m", 0, t(0, 1, 0)),  // H = 0
        (t(9, 0, 0), 0, "15m", 0, t(1, 0, 0)),      // H = day 1
        (t(401, 0, 0) - 1, 0, "15m", 0, t(1, 0, 0)), // D = 0
        (t(401, 0, 0), 0, "15m", t(1, 0, 0), t(1, 0, 0)), // D = day 1
        (0, 0, "lifetime", 0, minute(15)),
        (minute(15) - 1, 0, "lifetime", 0, minute(15)),
        (minute(15), 0, "lifetime", 0, minute(30)),
        (MAX_TIME, MAX_TIME, "15m", MAX_TIME + 1 - minute(15), MAX_TIME + 1),
        (MAX_TIME, 0, "lifetime", 0, MAX_TIME + 1),
        (0, MAX_TIME, "15m", MAX_TIME + 1 - minute(15), MAX_TIME + 1),
    ];
    for (latest, at_ms, window, from, to) in rows {
        check_range(*latest, *at_ms, window, (*from, *to));
    }
}

#[test]
fn figures_are_grouped_sorted_filtered_and_half_open() {
    let mut model = Model::new();
    let edge = t(1000, 12, 0);
    check(
        &mut model,
        &[
            (posted("1", "COIN gift debit", 7, edge - 1), "ok"),
            (posted("2", "COIN gift debit", 10, edge), "ok"),
            (posted("3", "COIN gift credit", 3, edge + 5), "ok"),
            (posted("4", "AAA z credit", 0, edge + 6), "ok"),
            (posted("5", "COIN gift debit", 0, edge + 899_999), "ok"),
            (posted("6", "COIN gift debit", 100, edge + 900_000), "ok"),
            (posted("7", "COIN a debit", 4, edge + 1), "ok"),
            (hold("8", "COIN hold debit", 4, edge + 1), "ok"),
        ],
    );
    let stats = |query: &str| {
        let target = format!("/v1/users/42/stats?at_ms={edge}&window={query}");
        body(&model, &target).replace("\"currency\":", "").replace('"', "")
    };
    assert_eq!(
        stats("15m"),
        format!(
            "{{user_id:42,version:8,from_ms:{edge},to_ms:{},stats:[\
             {{AAA,kind:z,direction:credit,count:1,sum:0,min:0,max:0}},\
             {{COIN,kind:a,direction:debit,count:1,sum:4,min:4,max:4}},\
             {{COIN,kind:gift,direction:credit,count:1,sum:3,min:3,max:3}},\
             {{COIN,kind:gift,direction:debit,count:2,sum:10,min:0,max:10}}]}}",
            edge + 900_000
        )
    );
    assert!(stats("30m&kind=gift&currency=COIN").ends_with(
        "[{COIN,kind:gift,direction:credit,count:1,sum:3,min:3,max:3},\
          {COIN,kind:gift,direction:debit,count:3,sum:17,min:0,max:10}]}"
    ));
    assert!(stats("15m&currency=XXX").ends_with("stats:[]}"));
    assert!(stats("15m&kind=hold").ends_with("stats:[]}"));
}

#[test]
fn holds_are_settled_in_part_in_full_or_voided() {
    let mut model = Model::new();
    let at = 1_000_000_000;
    check(
        &mut model,
        &[
            (posted("1", "COIN topup credit", 1_500, at), "ok"),
            (hold("2", "COIN gift debit", 300, at + 1), "ok"),
        ],
    );
    let row = "[{COIN,posted:1500,pending_debits:300,pending_credits:0,available:1200}]}";
    assert_eq!(balances(&model), row);
    check(
        &mut model,
        &[
            (settle("3", "9", 1, at + 2), "pending_not_found pending_id"),
            (settle("2", "2", 1, at + 2), "entry_id_conflict entry_id"),
        ],
    );
    assert_eq!(balances(&model), row);
    check(
        &mut model,
        &[
            (settle("3", "00000000-0000-0000-0000-000000000002", 200, at + 2), "ok"),
            (settle("3", "2", 200, at + 2), "duplicate"),
            (settle("4", "2", 0, at + 2), "pending_not_found pending_id"),
            (void("4", "2", at + 2), "pending_not_found pending_id"),
            (hold("5", "COIN gift credit", 50, at + 3), "ok"),
            (hold("6", "COIN gift debit", 60, at + 3), "ok"),
        ],
    );
    assert_eq!(
        balances(&model),
        "[{COIN,posted:1300,pending_debits:60,pending_credits:50,available:1240}]}"
    );
    check(
        &mut model,
        &[
            (void("7", "5", at + 4), "ok"),
            (void("7", "5", at + 4), "duplicate"),
            (settle("8", "6", 0, at + 4), "ok"),
            (settle("9", "3", 1, at + 4), "pending_not_found pending_id"),
        ],
    );
    assert_eq!(
        body(&model, "/v1/users/42/balance"),
        concat!(
            r#"{"user_id":"42","version":7,"as_of_ms":1000000004,"balances":[{"currency":"COIN","#,
            r#""posted":1300,"pending_debits":0,"pending_credits":0,"available":1300}]}"#
        )
    );
    assert!(body(&model, "/v1/users/42/stats?window=lifetime&kind=gift").ends_with(concat!(
        r#""stats":[{"currency":"COIN","kind":"gift","direction":"debit","count":2,"#,
        r#""sum":200,"min":0,"max":200}]}"#
    )));
}

#[test]
fn a_settlement_counts_at_its_own_time() {
    let mut model = Model::new();
    let held = t(1000, 0, 0);
    let settled = t(1500, 9, 0);
    check(
        &mut model,
        &[
            (hold("1", "COIN gift debit", 9, held), "ok"),
            (posted("2", "COIN topup credit", 1, settled), "ok"),
            (hold("1", "COIN gift debit", 9, held), "entry_too_old at_ms"),
            (hold("1", "COIN gift debit", 9, settled), "entry_id_conflict entry_id"),
            (settle("3", "1", 9, settled), "ok"),
            (hold("1", "COIN gift debit", 8, settled), "ok"), // Out of the dedup window.
        ],
    );
    let target = format!("/v1/users/42/stats?window=15m&kind=gift&at_ms={settled}");
    assert!(body(&model, &target).contains(r#""count":1,"sum":9,"min":9,"max":9"#));
}

#[test]
fn a_resend_is_a_duplicate_a_conflict_or_too_old() {
    let mut model = Model::new();
    let id = "0192f0c1-0000-7000-8000-00000000abcd";
    let at = t(1000, 0, 0);
    let restyled = format!(
        " {{ \"st\\u0061te\":\"posted\", \"at_ms\":{at},\"amount\":5,\"direction\":\"credit\",\
         \"kind\":\"\\u0067ift\",\"currency\":\"COIN\",\"user_id\":\"42\",\"entry_id\":\"{}\"}} ",
        id.to_uppercase()
    );
    let decimal = 0x0192_f0c1_0000_7000_8000_0000_0000_abcd_u128.to_string();
    check(
        &mut model,
        &[
            (posted(id, "COIN gift credit", 5, at), "ok"),
            (posted(id, "COIN gift credit", 5, at), "duplicate"),
            (posted(&decimal, "COIN gift credit", 5, at), "duplicate"),
            (restyled.clone(), "duplicate"),
            (posted(id, "COIN gift credit", 6, at), "entry_id_conflict entry_id"),
            (posted(id, "COIN gift credit", 5, at + 1), "entry_id_conflict entry_id"),
            (posted(id, "COIN gift debit", 5, at), "entry_id_conflict entry_id"),
            (posted(id, "COIN gifts credit", 5, at), "entry_id_conflict entry_id"),
            (posted(id, "COINS gift credit", 5, at), "entry_id_conflict entry_id"),
            (hold(id, "COIN gift credit", 5, at), "entry_id_conflict entry_id"),
            (settle(id, "77", 5, at), "entry_id_conflict entry_id"),
            (posted(id, "COIN gift credit", 5, at).replace("42", "43"), "ok"),
            // Still in the dedup window at its very edge, out of it one millisecond later.
            (posted("1", "COIN gift credit", 1, at + DAY), "ok"),
            (restyled.clone(), "duplicate"),
            (posted("2", "COIN gift credit", 1, at), "ok"),
            (posted("3", "COIN gift credit", 1, at - 1), "entry_too_old at_ms"),
            (posted("4", "COIN gift credit", 1, at + DAY + 1), "ok"),
            (restyled, "entry_too_old at_ms"),
            (posted(id, "COIN gift credit", 6, at), "entry_too_old at_ms"),
            // Its id is kept from its acceptance on, and forgotten a day after the latest entry
            // of that time.
            (posted(id, "COIN gift credit", 6, at + 1), "ok"),
            (posted(id, "COIN gift credit", 6, at + 1), "duplicate"),
            (posted("5", "COIN gift credit", 1, at + 2 * DAY + 1), "ok"),
            (posted(id, "COIN gift credit", 6, at + DAY + 1), "entry_id_conflict entry_id"),
            (posted("6", "COIN gift credit", 1, at + 2 * DAY + 2), "ok"),
            (posted(id, "COIN gift credit", 6, at + DAY + 2), "ok"),
        ],
    );
    assert!(body(&model, "/v1/users/42/balance").contains(r#""version":8,"#));
}

#[test]
fn the_clock_is_checked_before_the_latest_entry() {
    let mut model = Model::new();
    let now = 1_763_900_000_000;
    let ahead = now + HOUR;
    check_at(
        &mut model,
        NOW,
        &[
            (posted("1", "COIN gift credit", 1, ahead + 1), "entry_in_future at_ms"),
            (posted("1", "COIN gift credit", 1, ahead), "ok"),
            (posted("1", "COIN gift credit", 1, ahead + 1), "entry_in_future at_ms"),
            (posted("2", "COIN gift credit", 1, ahead - DAY - 1), "entry_too_old at_ms"),
            (posted("2", "COIN gift credit", 1, ahead - DAY), "ok"),
            (settle("1", "5", 1, ahead - DAY - 1), "entry_too_old at_ms"),
            (settle("1", "5", 1, ahead), "entry_id_conflict entry_id"),
        ],
    );
}

#[test]
fn limits_apply_at_exactly_their_number() {
    let mut model = Model::new();
    for index in 0..65_536 {
        check(&mut model, &[(hold(&index.to_string(), "COIN gift debit", 1, 5), "ok")]);
    }
    check(
        &mut model,
        &[
            (hold("h0", "COIN gift debit", 1, 5), "too_many_holds"),
            (hold("h0", "COIN gift debit", 0, 5), "ok"),
            (posted("h1", "COIN gift debit", 1, 5), "ok"),
            (void("h2", "65535", 5), "ok"),
            (hold("h3", "COIN gift debit", 1, 5), "ok"),
            (hold("h4", "COIN gift debit", 1, 5), "too_many_holds"),
        ],
    );
    for index in 0..15 {
        let group = format!("CUR{index} gift debit");
        check(&mut model, &[(posted(&format!("c{index}"), &group, 1, 5), "ok")]);
    }
    check(
        &mut model,
        &[
            (posted("i7000", "CUR15 gift debit", 1, 5), "too_many_currencies currency"),
            (hold("i7000", "CUR15 gift debit", 1, 5), "too_many_currencies currency"),
            (hold("i7000", "CUR14 gift debit", 1, 5), "too_many_holds"),
        ],
    );
    // 16 groups so far: 240 more.
    for index in 0..240 {
        let group = format!("COIN kind_{index} credit");
        check(&mut model, &[(posted(&format!("g{index}"), &group, 0, 5), "ok")]);
    }
    check(
        &mut model,
        &[
            (posted("i9000", "COIN more credit", 0, 5), "too_many_groups kind"),
            (posted("i9000", "CUR15 more credit", 0, 5), "too_many_currencies currency"),
            (posted("i9000", "COIN kind_0 debit", 0, 5), "too_many_groups kind"),
            (posted("i9000", "COIN kind_0 credit", 0, 5), "ok"),
            (void("i9001", "0", 5), "ok"),
            (hold("i9002", "COIN more credit", 1, 5), "ok"), // A hold makes no group.
            (settle("i9003", "i9002", 1, 5), "too_many_groups kind"),
            (void("i9003", "i9002", 5), "ok"),
        ],
    );
}

#[test]
fn no_amount_leaves_the_range_of_int64() {
    const MAX: i64 = i64::MAX;
    let mut model = Model::new();
    check(
        &mut model,
        &[
            (posted("1", "AAA in credit", MAX, 5), "ok"),
            (posted("2", "AAA other credit", 1, 5), "balance_overflow amount"), // posted
            (posted("2", "AAA out debit", MAX, 5), "ok"),
            (posted("3", "AAA in credit", 1, 5), "balance_overflow amount"), // lifetime sum
            (posted("3", "AAA in credit", 0, 5), "ok"),
            (posted("4", "AAA other credit", 1, 5), "ok"),
            (hold("5", "BBB in credit", MAX, 5), "ok"),
            (hold("6", "BBB in credit", 1, 5), "balance_overflow amount"), // pending credits
            (hold("6", "BBB out debit", MAX, 5), "ok"),
            (hold("7", "BBB out debit", 1, 5), "balance_overflow amount"), // pending debits
            (posted("7", "BBB fee debit", 1, 5), "ok"),                    // available = -2^63
            (posted("8", "BBB fee debit", 1, 5), "balance_overflow amount"), // available
            (posted("8", "CCC in debit", MAX, 5), "ok"),
            (posted("9", "CCC fee debit", 1, 5), "ok"), // posted = -2^63
            (posted("10", "CCC fee debit", 1, 5), "balance_overflow amount"),
            (hold("10", "CCC fee debit", 1, 5), "balance_overflow amount"), // available
            (hold("10", "CCC fee debit", 0, 5), "ok"),
            // A refused settlement leaves the hold open.
            (hold("11", "AAA in credit", 7, 5), "ok"),
            (settle("12", "11", 7, 5), "balance_overflow amount"),
            (settle("12", "11", 0, 5), "ok"),
        ],
    );
    assert!(balances(&model).contains(&format!(
        "{{BBB,posted:-1,pending_debits:{MAX},pending_credits:{MAX},available:{}}}",
        i64::MIN
    )));
    // Posting a held debit does not change the available amount.
    check(&mut model, &[(settle("13", "6", MAX, 5), "ok")]);
    assert!(balances(&model).contains(&format!(
        "{{BBB,posted:{0},pending_debits:0,pending_credits:{MAX},available:{0}}}",
        i64::MIN
    )));
}

#[test]
fn fields_are_checked_in_their_order() {
    let good = concat!(
        r#"{"entry_id":"1","user_id":"42","currency":"COIN","kind":"gift","direction":"debit","#,
        r#""amount":5,"at_ms":9,"state":"posted"}"#
    );
    let settle =
        r#"{"entry_id":"1","user_id":"42","amount":5,"at_ms":9,"state":"posted","pending_id":"2"}"#;
    let void = r#"{"entry_id":"1","user_id":"42","at_ms":9,"state":"voided"}"#;
    let rows: &[(&str, &str, &str, &str)] = &[
        (good, "}", "", "invalid_json"),
        (good, "9,", "09,", "invalid_json"),
        (good, "amount", "state", "invalid_json state"),
        (good, "amount", "\\u0073tate", "invalid_json state"),
        (good, "amount", "Amount", "unknown_field Amount"),
        (good, "amount", "a\\\"", "unknown_field"),
        (good, "amount", "", "unknown_field"),
        (good, r#""entry_id":"1","#, "", "missing_field entry_id"),
        (good, r#""1""#, "1", "invalid_field entry_id"),
        (good, r#""1""#, r#""01""#, "ok"),
        (good, r#""1""#, r#""tx9:1""#, "ok"),
        (good, r#""1""#, r#""0 1""#, "invalid_field entry_id"),
        (good, r#""1""#, r#""é""#, "invalid_field entry_id"),
        (good, r#""1""#, r#""\"""#, "invalid_field entry_id"),
        (good, r#""1""#, r#""340282366920938463463374607431768211455""#, "ok"),
        (good, r#""1""#, r#""340282366920938463463374607431768211456""#, "ok"),
        (good, r#""1""#, r#""0192f0c1000070008000000000000000""#, "ok"),
        (good, r#""42""#, "42", "invalid_field user_id"),
        (good, r#""42""#, r#""042""#, "ok"),
        (good, r#""42""#, r#""18446744073709551616""#, "ok"),
        (good, r#""42""#, r#""A.-_~:@z""#, "ok"),
        (good, r#""42""#, r#"".""#, "invalid_field user_id"),
        (good, r#""42""#, r#""..""#, "invalid_field user_id"),
        (good, r#""42""#, r#""a/b""#, "invalid_field user_id"),
        (good, r#""42""#, r#""é""#, "invalid_field user_id"),
        (good, r#""42""#, r#""""#, "invalid_field user_id"),
        (good, "COIN", "COINCOINS", "invalid_field currency"),
        (good, "COIN", "USD/2", "ok"),
        (good, "COIN", "US", "ok"),
        (good, "COIN", "U", "invalid_field currency"),
        (good, "COIN", "US:2", "invalid_field currency"),
        (good, "gift", "Payment.captured:2-b_", "ok"),
        (good, "gift", "_gift", "invalid_field kind"),
        (good, "debit", "Debit", "invalid_field direction"),
        (good, ":5", ":-5", "amount_negative amount"),
        (good, ":5", ":-99999999999999999999999", "amount_negative amount"),
        (good, ":5", ":-0", "invalid_field amount"),
        (good, ":5", ":-1.0", "invalid_field amount"),
        (good, ":5", ":5.0", "invalid_field amount"),
        (good, ":5", ":5e0", "invalid_field amount"),
        (good, ":5", ":null", "invalid_field amount"),
        (good, ":5", ":9223372036854775808", "invalid_field amount"),
        (good, ":5", ":9223372036854775807", "ok"),
        (good, ":9", ":253402300799999", "entry_in_future at_ms"),
        (good, ":9", ":253402300800000", "invalid_field at_ms"),
        (good, ":9", ":-1", "invalid_field at_ms"),
        (good, r#""posted""#, "null", "invalid_field state"),
        (good, "posted", "Posted", "invalid_field state"),
        (good, "posted", "voided", "missing_field pending_id"),
        (void, "", "", "missing_field pending_id"),
        (void, r#""42""#, r#""4 2""#, "invalid_field user_id"),
        (void, r#","at_ms":9"#, "", "missing_field at_ms"),
        (void, "9", r#"9,"kind":"gift","currency":"COIN""#, "missing_field direction"),
        (void, "9", r#"9,"kind":"Gift","currency":"coin""#, "invalid_field currency"),
        (void, "9", r#"-9,"direction":"up","amount":-5"#, "missing_field currency"),
        (void, "9", r#"-9,"amount":-5"#, "amount_negative amount"),
        (void, "9", r#"-9,"amount":5"#, "invalid_field at_ms"),
        (void, "9", r#"9,"final":true"#, "missing_field pending_id"),
        (good, r#""posted""#, r#""posted","pending_id":5"#, "invalid_field pending_id"),
        (good, r#""posted""#, r#""posted","pending_id":"2""#, "ok"),
        (good, r#""posted""#, r#""posted","final":true"#, "invalid_field final"),
        (settle, "posted", "posted", "pending_not_found pending_id"),
        (settle, r#""2""#, "5", "invalid_field pending_id"),
        (settle, r#""2""#, "null", "invalid_field pending_id"),
        (settle, "posted", "pending", "pending_not_found pending_id"),
        (settle, "posted", "voided", "pending_not_found pending_id"),
        (settle, r#""amount":5"#, r#""kind":"gift""#, "missing_field currency"),
        (settle, r#""2""#, r#""2","final":false"#, "pending_not_found pending_id"),
        (settle, r#""2""#, r#""2","final":0"#, "invalid_field final"),
        (settle, r#""posted","#, r#""pending","final":true,"#, "invalid_field final"),
        (settle, r#""posted","#, r#""voided","final":true,"#, "invalid_field final"),
        (settle, r#""amount":5,"#, "", "missing_field amount"),
        (settle, r#""amount":5"#, r#""amount":-5"#, "amount_negative amount"),
    ];
    for (line, old, new, wanted) in rows {
        let line = line.replacen(old, new, 1);
        check_at(&mut Model::new(), NOW, &[(line, wanted)]);
    }
}

#[test]
fn metadata_is_any_json_and_no_field() {
    let good = posted("1", "COIN gift credit", 5, 9);
    let with = |value: &str| good.replace('}', &format!(r#","metadata":{value}}}"#));
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let rows = [
        (with(r#"{"amount":-5,"a":[1e400,-0,null],"a":"\ud83d\ude00"}"#), "ok"),
        (good.clone(), "duplicate"),
        (with("null"), "duplicate"),
        (with(&nested(127)), "duplicate"),
        (with(&nested(128)), "invalid_json"),
        (with("[01]"), "invalid_json"),
        (with(r#""\ud83d""#), "invalid_json"),
        (with(r#"1,"metadata":1"#), "invalid_json metadata"),
        (with("1").replace("metadata", "Metadata"), "unknown_field Metadata"),
        (void("2", "1", 9).replace('}', r#","metadata":1}"#), "pending_not_found pending_id"),
    ];
    check(&mut Model::new(), &rows);
}

#[test]
fn a_feed_is_answered_line_by_line() {
    let mut model = Model::new();
    assert_eq!(
        model.feed(NOW, false, b""),
        (200, r#"{"accepted":0,"duplicates":0,"rejected":0,"results":[]}"#.to_owned())
    );
    let good = posted("7", "COIN gift credit", 1, 5);
    let bad = posted("0192F0C1-0000-7000-8000-00000000abcd", "COIN gift credit", -1, 5);
    let body = format!("\t\n{good}\r\n\x0c\n \r\n{good}\n{bad}\n\r\n{}\n", "{\"a\":1}");
    assert_eq!(
        model.feed(NOW, false, body.as_bytes()),
        (
            422,
            [
                r#"{"accepted":1,"duplicates":1,"rejected":3,"results":["#,
                concat!(
                    r#"{"index":1,"entry_id":"","status":"rejected","code":"invalid_json","#,
                    r#""field":"","detail":"The text is not a JSON object."},"#
                ),
                r#"{"index":2,"entry_id":"7","status":"duplicate"},"#,
                concat!(
                    r#"{"index":3,"entry_id":"0192F0C1-0000-7000-8000-00000000abcd","#,
                    r#""status":"rejected","code":"amount_negative","field":"amount","#,
                    r#""detail":"The amount is negative: send a positive one with direction "#,
                    r#"debit or credit."},"#
                ),
                concat!(
                    r#"{"index":4,"entry_id":"","status":"rejected","code":"unknown_field","#,
                    r#""field":"a","detail":"This member is unknown."}]}"#
                ),
            ]
            .concat()
        )
    );
    let (status, body) = model.feed(NOW, false, &b"{\n \n".repeat(10_000));
    assert!(status == 422 && body.contains(r#""rejected":10000,"#));
    let (status, body) = model.feed(NOW, false, &b"{\n \n".repeat(10_001));
    assert!(status == 413 && body.contains("too_many_items"));
    assert!(model.feed(NOW, false, &b" \t\r\n".repeat(10_001)).1.contains(r#""rejected":0,"#));
    let (status, body) = model.feed(NOW, false, &b" ".repeat((8 << 20) + 1));
    assert!(status == 413 && body.contains("content_too_large"));
    assert_eq!(model.feed(NOW, false, &b" ".repeat(8 << 20)).0, 200);
}

/// Status, code and field of a refused read as text; `200` for an answer.
fn refused(status: u16, body: &str) -> String {
    let members = json::object(body.as_bytes()).unwrap_or_else(|_| panic!("{body}"));
    let text = |name| json::member(&members, name).and_then(Value::text).unwrap_or_default();
    format!("{status} {} {}", text("code"), text("field")).trim_end().to_owned()
}

#[test]
fn targets_are_checked_in_their_order() {
    let mut model = Model::new();
    check(&mut model, &[(posted("1", "COIN gift credit", 1, 5), "ok")]);
    let reply = model.get(NOW, "/v1/users/42/balance?currency=%43OIN");
    assert_eq!(reply.etag.as_deref(), Some("\"v1\""));
    assert_eq!(reply.content_type, "application/json");
    assert!(reply.body.contains(r#""currency":"COIN""#));
    assert!(body(&model, "/v1/users/42/balance?currency=EUR").ends_with(r#""balances":[]}"#));
    let rows = [
        ("/v1/users/42/balance?", "200"),
        ("/v1/users/7/balance", "404 user_not_found"),
        ("/v1/users/42/balances", "404 not_found"),
        ("/v1/users/42/balance/", "404 not_found"),
        ("/%76%31/u%73ers/4%32/%62alance", "200"),
        ("/v1/users/42/st%61ts?window=1d", "200"),
        ("/v1/users/42%2Fbalance", "404 not_found"),
        ("/v1/users/42/balance%2f", "404 not_found"),
        ("/v1/users/42/%balance", "404 not_found"),
        ("/v1/%zz/42/balance", "404 not_found"),
        ("/v1/users/%/balance?a=1", "400 invalid_parameter user_id"),
        ("/v1/users/4%2F2/balance", "400 invalid_parameter user_id"),
        ("/v1/users/%2534/balance", "400 invalid_parameter user_id"),
        ("/v1/users/%30%34/%73tats", "400 invalid_window window"),
        ("/v1/users/%2e%2E/%73tats", "400 invalid_parameter user_id"),
        ("/v1/%62atch", "405 method_not_allowed"),
        ("/v1/users/04*/balance", "400 invalid_parameter user_id"),
        ("/v1/users/7/balance?a=1", "400 invalid_parameter a"),
        ("/v1/users/42/balance?currency=", "400 invalid_parameter currency"),
        ("/v1/users/42/balance?currency=COIN&currency=COIN", "400 invalid_parameter currency"),
        ("/v1/users/42/balance?currency=coin", "400 invalid_parameter currency"),
        ("/v1/users/42/balance?currency=COIN&", "400 invalid_parameter"),
        ("/v1/users/42/balance?%zz=1", "400 invalid_parameter"),
        ("/v1/users/42/balance?a%22=1", "400 invalid_parameter"),
        ("/v1/users/42/stats", "400 invalid_window window"),
        ("/v1/users/42/stats?kind=_gift", "400 invalid_parameter kind"),
        ("/v1/users/42/stats?window=16m&kind=_gift", "400 invalid_window window"),
        ("/v1/users/42/stats?kind=_gift&window=16m", "400 invalid_parameter kind"),
        ("/v1/users/42/stats?window=", "400 invalid_parameter window"),
        ("/v1/users/42/stats?window=%", "400 invalid_parameter window"),
        ("/v1/users/42/stats?window=1%64", "200"),
        ("/v1/users/42/stats?window=lifetime&at_ms=0", "400 invalid_parameter at_ms"),
        ("/v1/users/42/stats?at_ms=0&window=lifetime&kind=", "400 invalid_parameter kind"),
        ("/v1/users/42/stats?window=1d&at_ms=01", "400 invalid_parameter at_ms"),
        ("/v1/users/42/stats?window=1d&at_ms=253402300799999", "200"),
        ("/v1/users/42/stats?window=1d&at_ms=253402300800000", "400 invalid_parameter at_ms"),
        ("/v1/users/42/stats?window=576000m", "200"),
        ("/v1/users/42/stats?window=9601h", "400 invalid_window window"),
        ("/v1/users/42/stats?window=576015m", "400 invalid_window window"),
        ("/v1/users/42/stats?window=0000015m", "400 invalid_window window"),
    ];
    for (target, wanted) in rows {
        let reply = model.get(NOW, target);
        assert_eq!(refused(reply.status, &reply.body), wanted, "{target}");
        assert_eq!(reply.etag.is_some(), target.contains("alance") && reply.status == 200);
    }
}

#[test]
fn an_invalid_batch_is_refused_as_a_whole() {
    let model = Model::new();
    let item = r#"{"user_id":"7","read":"balance"}"#;
    let many = |count: usize| format!(r#"{{"requests":[{}]}}"#, vec![item; count].join(","));
    let rows: &[(&str, &str)] = &[
        ("", "400 invalid_json"),
        ("[]", "400 invalid_json"),
        ("{}", "400 missing_field requests"),
        (r#"{"requests":{}}"#, "400 invalid_field requests"),
        (r#"{"requests":[],"x":1}"#, "400 unknown_field x"),
        (r#"{"x":1,"requests":[{"a":1,"a":1}]}"#, "400 invalid_json requests[0].a"),
        (r#"{"requests":[],"requests":[]}"#, "400 invalid_json requests"),
        (r#"{"requests":[5]}"#, "400 invalid_field requests[0]"),
        (r#"{"requests":[{}]}"#, "400 missing_field requests[0].user_id"),
        (r#"{"requests":[{"user_id":7}]}"#, "400 invalid_field requests[0].user_id"),
        (r#"{"requests":[{"user_id":"7"}]}"#, "400 missing_field requests[0].read"),
        (
            r#"{"requests":[{"user_id":"7","read":"x","kind":1}]}"#,
            "400 invalid_field requests[0].read",
        ),
        (
            r#"{"requests":[{"user_id":"7","read":"balance","kind":"a"}]}"#,
            "400 unknown_field requests[0].kind",
        ),
        (
            r#"{"requests":[{"user_id":"7","read":"stats"}]}"#,
            "400 missing_field requests[0].window",
        ),
        (
            r#"{"requests":[{"user_id":"7","read":"stats","window":5}]}"#,
            "400 invalid_field requests[0].window",
        ),
        (
            r#"{"requests":[{"user_id":"7","read":"stats","window":"5m"}]}"#,
            "400 invalid_window requests[0].window",
        ),
        (
            r#"{"requests":[{"user_id":"7","read":"stats","window":"lifetime","at_ms":5}]}"#,
            "400 invalid_field requests[0].at_ms",
        ),
        (
            r#"{"requests":[{"user_id":"7","read":"stats","window":"1d","at_ms":"5"}]}"#,
            "400 invalid_field requests[0].at_ms",
        ),
        (r#"{"requests":[{"user_id":"7","read":"stats","window":"1d","at_ms":5}]}"#, "200"),
        (&many(1_000), "200"),
        (&many(1_001), "413 too_many_items requests"),
        (&many(1_001).replacen('{', r#"{"requests":[],"#, 1), "400 invalid_json requests"),
    ];
    for (body, wanted) in rows {
        let reply = model.batch(NOW, body.as_bytes());
        assert_eq!(refused(reply.status, &reply.body), *wanted, "{body}");
    }
}

#[test]
fn a_batch_answers_as_single_reads_do() {
    let mut model = Model::new();
    check(&mut model, &[(posted("1", "COIN gift credit", 1, 5), "ok")]);
    let body = concat!(
        r#"{"requests":[{"user_id":"42","read":"balance"},{"user_id":"7","read":"stats","#,
        r#""window":"7d"},{"window":"7d","read":"stats","user_id":"42","kind":"gift"}]}"#
    );
    let single = |target: &str| model.get(NOW, target).body;
    let unknown = single("/v1/users/7/balance");
    let wanted = format!(
        r#"{{"responses":[{},{},"user_id":"7"}},{}]}}"#,
        single("/v1/users/42/balance"),
        &unknown[..unknown.len() - 1],
        single("/v1/users/42/stats?window=7d&kind=gift"),
    );
    assert_eq!(model.batch(NOW, body.as_bytes()).body, wanted);
    assert_eq!(model.batch(NOW, b"{\"requests\":[]}").body, r#"{"responses":[]}"#);
}

/// An object's member as text: a string decoded, a number as written.
fn plain(value: &Value, name: &str) -> String {
    let Value::Object(members) = value else {
        panic!("an object");
    };
    match json::member(members, name) {
        Some(Value::Text(text) | Value::Number(text)) => text.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn real_bank_data_is_answered_exactly() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/berka");
    let entries = std::fs::read(format!("{folder}/entries.ndjson")).expect("entries.ndjson");
    let expected = std::fs::read(format!("{folder}/expected.json")).expect("expected.json");
    let mut model = Model::new();
    for body in super::lines(&entries).chunks(5_000) {
        let (status, answer) = model.feed(NOW, false, &body.join(&b"\n"[..]));
        let wanted = format!(r#"{{"accepted":{},"duplicates":0,"#, body.len());
        assert!(status == 200 && answer.starts_with(&wanted), "{answer}");
    }
    let users = json::object(&expected).expect("expected.json");
    assert_eq!(users.len(), 177);
    for (user_id, wanted) in &users {
        let posted = plain(wanted, "posted");
        let head = format!(r#"{{"user_id":"{user_id}","version":{},"#, plain(wanted, "entries"));
        let last: i64 = plain(wanted, "last_at_ms").parse().expect("a time");
        assert_eq!(
            body(&model, &format!("/v1/users/{user_id}/balance")),
            format!(
                "{head}\"as_of_ms\":{last},\"balances\":[{{\"currency\":\"CZK\",\
                 \"posted\":{posted},\"pending_debits\":0,\"pending_credits\":0,\
                 \"available\":{posted}}}]}}"
            )
        );
        let Value::Object(members) = wanted else {
            panic!("{user_id}");
        };
        let Some(Value::List(groups)) = json::member(members, "stats") else {
            panic!("{user_id}");
        };
        let groups: Vec<String> = groups.iter().map(bank_group).collect();
        assert_eq!(
            body(&model, &format!("/v1/users/{user_id}/stats?window=lifetime")),
            format!(
                r#"{head}"from_ms":0,"to_ms":{},"stats":[{}]}}"#,
                last + 15 * MINUTE, // Bookings are at midnight.
                groups.join(",")
            )
        );
    }
}

fn bank_group(group: &Value) -> String {
    let text = |name| plain(group, name);
    format!(
        concat!(
            r#"{{"currency":"CZK","kind":"{}","direction":"{}","count":{},"sum":{},"min":{},"#,
            r#""max":{}}}"#
        ),
        text("kind"),
        text("direction"),
        text("count"),
        text("sum"),
        text("min"),
        text("max")
    )
}
