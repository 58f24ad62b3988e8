//! Shares, turns and bounds.

use futures_util::FutureExt as _;

use super::*;

/// Six seats: four for others, three for each user, one for each node, two may wait for each.
fn room() -> Arc<Room> {
    Room::new(Bounds { all: 6, others: 4, each: 3, node: 1, waiting: 2 })
}

fn now(room: &Arc<Room>, user: &str, party: Party) -> Option<Seat> {
    room.seat(user, party).now_or_never().flatten()
}

fn take(room: &Arc<Room>, user: &str, party: Party, count: usize) -> Vec<Seat> {
    std::iter::from_fn(|| now(room, user, party)).take(count).collect()
}

#[tokio::test]
async fn nobody_has_more_than_a_share() {
    let room = room();
    let greedy = take(&room, "greedy", Party::Other, 9);
    assert_eq!(greedy.len(), 3, "each");
    let late = take(&room, "late", Party::Other, 9);
    assert_eq!(late.len(), 1, "others");
    let node = take(&room, "n1", Party::Node, 9);
    assert_eq!(node.len(), 1, "node");
    let system = take(&room, "scheduler", Party::System, 9);
    assert_eq!(system.len(), 1, "all");
    drop((greedy, late, node, system));
    let state = room.lock();
    assert_eq!((state.taken, state.taken_by_others, state.waiting, state.users.len()), (0, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn free_seats_go_round() {
    let room = room();
    let mut greedy = take(&room, "greedy", Party::Other, 3);
    let mut other = take(&room, "other", Party::Other, 1);
    let ask = |user: &'static str| {
        let room = Arc::clone(&room);
        tokio::spawn(async move { room.seat(user, Party::Other).await.map(|seat| (user, seat)) })
    };
    // In this order: two of the greedy user wait before the first of the late one.
    let mut asked = Vec::new();
    for user in ["greedy", "greedy", "late", "late"] {
        asked.push(ask(user));
        tokio::task::yield_now().await;
    }
    assert_eq!(room.lock().waiting, 4);
    greedy.pop();
    let (user, first) = asked.remove(0).await.unwrap().unwrap();
    assert_eq!(user, "greedy");
    other.pop();
    let (user, second) = asked.remove(1).await.unwrap().unwrap();
    assert_eq!(user, "late", "the greedy user has a share");
    drop(first);
    let (user, third) = asked.remove(0).await.unwrap().unwrap();
    assert_eq!(user, "greedy", "whose turn it is");
    drop((second, third, greedy));
    let (user, fourth) = asked.remove(0).await.unwrap().unwrap();
    assert_eq!(user, "late");
    drop(fourth);
    let state = room.lock();
    assert_eq!((state.users.len(), state.turns.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_has_bounds() {
    let room = room();
    let seats = take(&room, "a", Party::Other, 3);
    let ask = || {
        let room = Arc::clone(&room);
        tokio::spawn(async move { room.seat("a", Party::Other).await })
    };
    let (first, second) = (ask(), ask());
    tokio::task::yield_now().await;
    assert!(ask().await.unwrap().is_none(), "two wait already");
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let third = ask();
    tokio::task::yield_now().await;
    assert_eq!(room.lock().waiting, 2, "who left makes room");
    assert!(second.await.unwrap().is_none(), "time is over");
    assert!(third.await.unwrap().is_none());
    drop(seats);
    let state = room.lock();
    assert_eq!((state.taken, state.waiting, state.users.len(), state.refused), (0, 0, 0, 3));
}

#[tokio::test]
async fn a_seat_that_comes_too_late_goes_on() {
    let room = room();
    let seats = take(&room, "a", Party::Other, 3);
    let Asked::Wait(turn) = room.ask("a", Party::Other) else { panic!("there is no seat") };
    let Asked::Wait(next) = room.ask("a", Party::Other) else { panic!("there is no seat") };
    let mut seats = seats.into_iter();
    drop(seats.next());
    // The seat was sent, and whoever asked is gone before it is looked at.
    drop(turn);
    drop(next.await.unwrap());
    drop(seats);
    assert_eq!(room.lock().users.len(), 0);
}

#[tokio::test]
async fn work_that_does_not_end_is_not_waited_for() {
    let seats = Seats::new();
    let user = User::new("u", []);
    let mut taken = Vec::new();
    let refused = loop {
        match seats.take(Work::Long, &user).now_or_never().unwrap() {
            Ok(seat) => taken.push(seat),
            Err(status) => break status,
        }
    };
    assert_eq!((taken.len(), refused.code()), (LONG.each, 429));
    let expected = Use { taken: LONG.each, waiting: 0, refused: 1 };
    assert_eq!(seats.usage(Work::Long), expected);
    let admin = User::new("admin", ["system:masters".to_owned()]);
    assert!(seats.take(Work::Long, &admin).await.is_ok());
}
