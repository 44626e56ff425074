//! Correctness check of a server: the balances and statistics of sampled users, single and in a
//! batch, must equal the tally's expected answers byte for byte. Suites run it before and after
//! their rounds; during the rounds wrk counts every status above 399 as an error.

use crate::error::{Error, Result};
use crate::http::{Answer, Client};
use crate::population::DAY_MS;
use crate::server::Running;
use crate::tally::{Tally, instant_of, instants, stats_query};
use crate::wrk::{BATCH, Script};

const USERS: usize = 200;
/// Instants at which a sampled user's past balance is compared: together nearly all instants.
const INSTANTS_PER_USER: usize = 5;
const USERS_OF_MEAN: usize = 1_000;

/// Compares the answers for 200 sampled users; a different `turn` checks different users.
pub fn check(server: &Running, tally: &Tally, turn: usize) -> Result<()> {
    let mut client = Client::connect(server.address)?;
    for user in tally.sample(turn, USERS) {
        let answer = client.get(&balance(tally, user))?;
        same_tag(&answer, tally, user)?;
        same(&answer, &tally.balance(user))?;
        same(&client.get(&stats(tally, user))?, &tally.stats(user))?;
    }
    let users: Vec<u64> = tally.sample(turn, BATCH).collect();
    let bodies: Vec<String> = users.iter().map(|&user| tally.balance(user)).collect();
    same(&batch(&mut client, tally, &users)?, &format!(r#"{{"responses":[{}]}}"#, bodies.join(",")))
}

/// Compares past balances of 200 sampled users, at instants of the load and at midnight, and
/// returns the mean size of the answers at instants of the load.
pub fn past(server: &Running, tally: &Tally, turn: usize) -> Result<f64> {
    let mut client = Client::connect(server.address)?;
    let (mut all, mut bytes) = (instants().cycle(), 0);
    let mut ask = |user, at_ms| -> Result<usize> {
        let answer = client.get(&past_balance(tally, user, at_ms))?;
        same_tag(&answer, tally, user)?;
        same(&answer, &tally.past(user, at_ms))?;
        Ok(answer.bytes.len())
    };
    for user in tally.sample(turn, USERS) {
        let mut last_ms = 0;
        for at_ms in all.by_ref().take(INSTANTS_PER_USER) {
            bytes += ask(user, at_ms)?;
            last_ms = at_ms;
        }
        ask(user, last_ms - last_ms % DAY_MS)?;
    }
    Ok(bytes as f64 / (USERS * INSTANTS_PER_USER) as f64)
}

fn same_tag(answer: &Answer, tally: &Tally, user: u64) -> Result<()> {
    let (found, expected) = (answer.header("etag"), format!("\"v{}\"", tally.version(user)));
    if found == Some(&expected) {
        return Ok(());
    }
    Err(Error::new(format!("ETag is {found:?}, expected {expected}")))
}

fn same(answer: &Answer, expected: &str) -> Result<()> {
    if answer.status == 200 && answer.body() == expected.as_bytes() {
        return Ok(());
    }
    let body = String::from_utf8_lossy(answer.body());
    Err(Error::new(format!(
        "wrong answer: {}\n  got      {body}\n  expected {expected}",
        answer.status
    )))
}

/// A real answer to a request of `script`, near the mean size among sampled users: the constant
/// that the floor answers with. The mean, not the median, so that the floor sends as many bytes per
/// round as the server.
pub fn typical_answer(server: &Running, tally: &Tally, script: Script) -> Result<Vec<u8>> {
    let mut client = Client::connect(server.address)?;
    let mut answers = Vec::new();
    for user in tally.sample(0, USERS_OF_MEAN) {
        let users: Vec<u64> = match script {
            Script::Batch => tally.sample(answers.len(), BATCH).collect(),
            _ => vec![user],
        };
        let answer = ask(&mut client, tally, script, &users)?;
        answers.push(answer.bytes);
    }
    let mean = answers.iter().map(Vec::len).sum::<usize>() / answers.len().max(1);
    let nearest = answers.into_iter().min_by_key(|answer| answer.len().abs_diff(mean));
    nearest.ok_or_else(|| Error::new("no user was sampled"))
}

/// Sends one request of `script`: for all `users` if it is a batch, else for the first.
pub fn ask(client: &mut Client, tally: &Tally, script: Script, users: &[u64]) -> Result<Answer> {
    match script {
        Script::Balance | Script::Pipelined => client.get(&balance(tally, users[0])),
        Script::Stats => client.get(&stats(tally, users[0])),
        Script::Batch => batch(client, tally, users),
        Script::Past => client.get(&past_balance(tally, users[0], instant_of(users[0]))),
    }
}

fn balance(tally: &Tally, user: u64) -> String {
    format!("/v1/users/{}/balance", tally.user_id(user))
}

fn past_balance(tally: &Tally, user: u64, at_ms: u64) -> String {
    format!("/v1/users/{}/balance?at_ms={at_ms}", tally.user_id(user))
}

fn stats(tally: &Tally, user: u64) -> String {
    format!("/v1/users/{}/stats?{}", tally.user_id(user), stats_query())
}

fn batch(client: &mut Client, tally: &Tally, users: &[u64]) -> Result<Answer> {
    let item = |user: &u64| format!(r#"{{"user_id":"{}","read":"balance"}}"#, tally.user_id(*user));
    let items: Vec<String> = users.iter().map(item).collect();
    client.post(
        "/v1/batch",
        "application/json",
        format!(r#"{{"requests":[{}]}}"#, items.join(",")).as_bytes(),
    )
}
