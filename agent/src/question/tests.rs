use std::ops::ControlFlow;

use super::*;
use crate::record::Record;
use crate::store::Writer;
use crate::store::sample::{Folder, OPENED, full, id};

/// Takes everything.
#[derive(Default)]
pub(super) struct Everything(pub Vec<serde_json::Value>);

impl Asker for Everything {
    fn line(&mut self, line: Vec<u8>) -> ControlFlow<()> {
        self.0.push(serde_json::from_slice(&line).unwrap());
        ControlFlow::Continue(())
    }

    fn progress(&mut self, _done: f64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

#[test]
fn a_question_is_the_same_as_a_request() {
    let question = Question::Connections(ConnectionsQuestion {
        since: Some(Moment::Ago(7_200)),
        limit: Some(5),
        ..ConnectionsQuestion::default()
    });
    assert_eq!(question.query(), "since=7200s&limit=5");
    assert_eq!(Question::parse("connections", &question.query()).unwrap(), question);
    assert!(matches!(Question::parse("connections", "colour=red"), Err(QuestionError::Refused(_))));
    assert!(matches!(Question::parse("weather", ""), Err(QuestionError::Unknown(_))));
}

#[test]
fn connections_come_newest_first_and_page_by_page() {
    let folder = Folder::new("pages");
    let records: Vec<Record> = (0..5).map(|number| Record::Connection(full(number).into())).collect();
    Writer::open(&folder.file()).unwrap().write(&records).unwrap();
    let mut reader = Reader::open(&folder.file()).unwrap();
    let mut ask = |after: Option<String>| {
        let question = ConnectionsQuestion { limit: Some(2), after, ..ConnectionsQuestion::default() };
        let mut all = Everything::default();
        let page = Question::Connections(question).answer(&mut reader, WallTime(OPENED), &mut all).unwrap();
        let last = all.0.pop().unwrap();
        assert_eq!(last, serde_json::to_value(&page).unwrap(), "the last line says whether this was all");
        let ids: Vec<String> = all.0.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        (ids, page.next)
    };
    let id = |number: u64| id(OPENED + number as i64, number);
    let (first, next) = ask(None);
    assert_eq!(first, [id(4), id(3)]);
    let (second, next) = ask(next);
    assert_eq!(second, [id(2), id(1)]);
    assert_eq!(ask(next), (vec![id(0)], None));
}
