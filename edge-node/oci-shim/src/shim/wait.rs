//! What the loop waits for.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    time::Instant,
};

use dunlin_link::ContainerId;
use rustix::{
    event::{PollFd, PollFlags, poll},
    time::Timespec,
};

use super::Shim;

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// Somebody connects.
    Knock,
    /// The agent has something to say, or room to hear.
    Agent,
    /// A command of the runtime ended; by its number.
    Operation(i32),
    /// A container's first process ended.
    Init(ContainerId),
    /// A container wrote something.
    Output(ContainerId),
    /// A container's terminal is there.
    Console(ContainerId),
    /// There is room for what waits for a container to read it.
    Input(ContainerId),
    /// Somebody wants a stream.
    Caller,
    /// Something happened to a stream; by its number.
    Stream(u64),
    /// A process ended whose caller is gone.
    Abandoned,
    /// A process of a container ended that is being taken away.
    Dying(ContainerId),
    /// The first process of the pod's processes ended.
    PodInit,
    /// The pod's runner ended.
    Runner,
}

impl Shim {
    /// Waits for anything, or for the next time that something is due.
    pub(super) fn wait(&self) -> io::Result<Vec<What>> {
        let (mut fds, whats): (Vec<_>, Vec<_>) = self.sources().into_iter().unzip();
        match poll(&mut fds, self.until_due().as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let ready = fds.iter().zip(whats).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, what)| what).collect())
    }

    fn sources(&self) -> Vec<(PollFd<'_>, What)> {
        fn read(fd: BorrowedFd<'_>) -> PollFd<'_> {
            PollFd::from_borrowed_fd(fd, PollFlags::IN)
        }
        fn write(fd: BorrowedFd<'_>) -> PollFd<'_> {
            PollFd::from_borrowed_fd(fd, PollFlags::OUT)
        }
        let mut sources =
            vec![(read(self.listener.as_fd()), What::Knock), (read(self.callers.as_fd()), What::Caller)];
        sources.extend(self.abandoned.iter().map(|held| (read(held.fd.as_fd()), What::Abandoned)));
        let init = self.pod.as_ref().and_then(|pod| pod.init.as_ref());
        sources.extend(init.map(|held| (read(held.fd.as_fd()), What::PodInit)));
        sources.extend(self.runners.held().map(|held| (read(held.fd.as_fd()), What::Runner)));
        if let Some(agent) = &self.agent {
            let writes = if agent.has_untold() { PollFlags::OUT } else { PollFlags::empty() };
            let fd = PollFd::from_borrowed_fd(agent.stream().as_fd(), PollFlags::IN | writes);
            sources.push((fd, What::Agent));
        }
        for running in &self.operations {
            sources.push((read(running.held.fd.as_fd()), What::Operation(running.number())));
        }
        for (id, container) in &self.containers {
            if let Some(init) = &container.init {
                sources.push((read(init.fd.as_fd()), What::Init(id.clone())));
            }
            // While somebody attached does not read, the container waits.
            if self.has_room_for_output(id) {
                for file in container.output.sources() {
                    sources.push((read(file.as_fd()), What::Output(id.clone())));
                }
            }
            if let Some(file) = container.input.wants() {
                sources.push((write(file.as_fd()), What::Input(id.clone())));
            }
            if let Some(console) = &container.console {
                sources.push((read(console.as_fd()), What::Console(id.clone())));
            }
        }
        for (id, dying) in &self.dying {
            sources.extend(dying.held.iter().map(|held| (read(held.fd.as_fd()), What::Dying(id.clone()))));
        }
        for (number, stream) in &self.streams {
            let wanted = self.wanted(stream);
            let fds = wanted.into_iter().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags));
            sources.extend(fds.map(|fd| (fd, What::Stream(*number))));
        }
        sources
    }

    fn until_due(&self) -> Option<Timespec> {
        let now = Instant::now();
        let operations = self.operations.iter().map(|running| running.given_up_at);
        let operations = operations.map(|at| at.saturating_duration_since(now).as_millis()).min();
        let machine = self.machine.poll_timeout().map(|at| u128::from(at.millis_after(self.now().mono)));
        let look = self.next_look().map(|after| after.as_millis());
        let stalled = self.stalls().map(|at| at.saturating_duration_since(now).as_millis()).min();
        let postponed = self.postponed.iter().map(|postponed| postponed.until);
        let postponed = postponed.map(|at| at.saturating_duration_since(now).as_millis());
        let dying = self.dying.values().map(|dying| dying.until.saturating_duration_since(now).as_millis());
        let millis = operations
            .into_iter()
            .chain(postponed)
            .chain(dying)
            .chain(machine)
            .chain(stalled)
            .chain(look)
            .min()?;
        // Rounded up: waking before the time is waking twice.
        let millis = i64::try_from(millis + 1).unwrap_or(i64::MAX);
        Some(Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 })
    }
}
