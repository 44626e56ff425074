//! Refusals that end a connection: the last answer that it writes.

use super::connection::{Connection, State};
use super::progress::Progress;
use super::shared::Shared;
use crate::api::problem::{Code, Problem};
use crate::api::reply;
use crate::api::route::Route;
use crate::http::response::Persist;

impl Connection {
    /// Refuses the connection, because there are too many. It gets no other answer.
    pub(super) fn refuse_at_once(&mut self, shared: &mut Shared) {
        self.write_problem(Code::Overloaded.into(), false, shared);
        (self.state, self.progress) = (State::Finishing, Progress::Done);
        self.touch(shared);
    }

    /// Writes the last answer of this connection.
    pub(super) fn refuse(&mut self, problem: Problem, head_only: bool, shared: &mut Shared) {
        self.write_problem(problem, head_only, shared);
        shared.count(Route::None, problem.code.status());
        self.finish(Persist::Close);
    }

    fn write_problem(&mut self, problem: Problem, head_only: bool, shared: &Shared) {
        let out = &mut self.answers.bytes;
        reply::problem(&problem.into(), Persist::Close, head_only, &shared.date, out);
    }

    /// Whether its next answer waits for a log that has no space.
    pub(super) fn waits_for_space(&self, shared: &Shared) -> bool {
        let position = self.answers.waits_for();
        position.is_some_and(|position| shared.owners[position.local_slice].is_stalled())
    }

    /// Refuses the next answer, and ends the connection: what was answered after it is not sent. A
    /// connection that waits for more than the log is closed. Returns the bytes to send.
    #[cold]
    pub(super) fn refuse_unstored(&mut self, shared: &mut Shared) -> usize {
        match self.state {
            State::Head | State::Finishing if self.answers.gaps() == 0 && self.pending == 0 => {}
            State::Body(_) if self.answers.gaps() == 0 => self.drop_body(shared),
            _ => {
                self.close(shared);
                return 0;
            }
        }
        let head_only = self.answers.clear();
        self.refuse(Code::InsufficientStorage.into(), head_only, shared);
        self.answers.bytes.len()
    }
}
