//! What a task looks at before it goes back to its guest: exit, stop, signals. signal(7).
//!
//! Locks: `ProcessSignals`, then `TaskSignals`.

use super::drive::{Phase, Run};
use super::ptrace::GroupStop;
use super::send::{SigChild, notify_parent, send};
use super::{ChildEvent, ExitStatus, Stop, Task};
use crate::op::Restart;
use crate::signal::{
    Default, SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_RESTART, SIG_DFL, SIG_IGN, SIGKILL, SIGSEGV, SIGSTOP,
    SS_AUTODISARM, STOP_SIGNALS, SigAction, SigInfo, SigSet, UNMASKABLE, bit, default_action,
};
use crate::wait::Events;
use std::sync::Arc;

/// What comes before going on.
pub(super) enum Attention {
    None,
    /// Stopped: wait for SIGCONT.
    Wait,
    Exit,
    /// Its tracer comes first.
    Again,
    Handler(Delivery),
}

/// A signal taken out for a handler.
pub struct Delivery {
    info: SigInfo,
    action: SigAction,
    /// The mask that the handler's return restores.
    old_mask: SigSet,
    /// The interrupted call: None outside of one, Some(None) to be restarted, Some(Some(v)) with its value.
    pub(super) result: Option<Option<i64>>,
    pub(super) nr: u32,
    /// The call's ip is at its instruction.
    pub(super) at_call: bool,
}

impl Delivery {
    /// Whether a call that was interrupted this way is made again after the handler.
    pub(super) fn restarts(&self, how: Restart) -> bool {
        match how {
            Restart::NoIntr => true,
            Restart::Sys => self.action.flags & SA_RESTART != 0,
            Restart::NoHand | Restart::Block => false,
        }
    }
}

impl Task {
    /// Whether there is anything to do before guest code runs.
    pub(super) fn wants_attention(&self) -> bool {
        self.wants_out() || self.is_frozen()
    }

    /// Whether there is anything for `attention` to do, for which waits end.
    pub(super) fn wants_out(&self) -> bool {
        if self.group.is_exiting() || self.is_dying() {
            return true;
        }
        if !self.may_have_signals() {
            return self.wants_tracer();
        }
        let group = self.group.signals.lock();
        if matches!(group.stop, Stop::Stopped(_)) && !self.runs_in_group_stop() {
            return true;
        }
        let mine = self.signals.lock();
        (mine.pending.set() | group.pending.set()) & !mine.mask.get() != 0 || self.wants_tracer()
    }

    /// Whether the locks of the signals are worth taking.
    fn may_have_signals(&self) -> bool {
        self.signals_due.is_set() || self.group.signals_due.is_set()
    }

    /// Sets a mask for the time of a call: the one from before comes back when that returns.
    pub fn mask_for_call(&self, mask: SigSet) {
        let mut mine = self.signals.lock();
        if mine.saved_mask.is_none() {
            mine.saved_mask = Some(mine.mask.get());
        }
        mine.mask.set(mask & !UNMASKABLE);
        self.signals_due.set();
    }

    /// Whether a signal waits that the mask lets through.
    pub fn has_deliverable_signal(&self) -> bool {
        let group = self.group.signals.lock().pending.set();
        let mine = self.signals.lock();
        (mine.pending.set() | group) & !mine.mask.get() != 0
    }

    /// Whether a signal waits that will end the process: no wait goes on then.
    pub(super) fn has_fatal_signal(&self) -> bool {
        let group = self.group.signals.lock();
        let mine = self.signals.lock();
        let mut pending = (mine.pending.set() | group.pending.set()) & (!mine.mask.get() | UNMASKABLE);
        if self.is_traced() {
            pending &= bit(SIGKILL); // about others its tracer is asked
        }
        let ends = |sig: i32| {
            let deadly = matches!(default_action(sig), Default::Terminate | Default::Core);
            let spared = group.unkillable && sig != SIGKILL;
            pending & bit(sig) != 0 && deadly && !spared && group.actions.get(sig).handler == SIG_DFL
        };
        pending != 0 && (1..=64).any(ends)
    }

    /// Takes out signals and acts on them until one has a handler or nothing is left.
    pub(super) fn attention(self: &Arc<Self>, run: &mut Run) -> Attention {
        if run.phase.is_at_stub() || matches!(run.phase, Phase::Read(..)) {
            let now = self.group.is_exiting() && !self.group.ends_orderly();
            return if now { Attention::Exit } else { Attention::None };
        }
        loop {
            if self.group.is_exiting() || self.is_dying() {
                return Attention::Exit;
            }
            if !self.may_have_signals() && !self.was_ever_traced() {
                return Attention::None;
            }
            let mut group = self.group.signals.lock();
            if let Stop::Stopped(sig) = group.stop {
                let kill = bit(SIGKILL);
                if (group.pending.set() | self.signals.lock().pending.set()) & kill == 0 {
                    match self.group_stop(sig) {
                        GroupStop::Tell => return Attention::Again,
                        GroupStop::Run => {}
                        GroupStop::Stay => {
                            drop(group);
                            run.waits.begin_run();
                            run.waits.add(&self.group.continued, Events::IN);
                            if matches!(self.group.signals.lock().stop, Stop::Stopped(_)) {
                                return Attention::Wait;
                            }
                            continue;
                        }
                    }
                }
            } else if self.group_stop_over() {
                return Attention::Again;
            }
            let injected = self.injected();
            let mut mine = self.signals.lock();
            let wanted = !mine.mask.get() | UNMASKABLE;
            let mut pending = || mine.pending.take(wanted).or_else(|| group.pending.take(wanted));
            let Some(info) = injected.or_else(&mut pending) else {
                // A mask that was only for the call's time goes when the call returns.
                if !matches!(run.phase, Phase::Interrupted(_))
                    && let Some(saved) = mine.saved_mask.take()
                {
                    mine.mask.set(saved);
                    continue;
                }
                // It may have been chosen for them before it masked them.
                let kept_back = group.pending.set() & mine.mask.get();
                self.signals_due.settle(!mine.pending.is_empty() || mine.saved_mask.is_some());
                self.group.signals_due.settle(!group.pending.is_empty() || matches!(group.stop, Stop::Stopped(_)));
                drop(mine);
                drop(group);
                if kept_back != 0 {
                    super::send::pass_on(self, kept_back);
                }
                return Attention::None;
            };
            let sig = info.sig();
            if injected.is_none() && sig != SIGKILL && self.offer_to_tracer(info) {
                return Attention::Again;
            }
            let action = group.actions.get(sig);
            if action.handler == SIG_IGN {
                continue;
            }
            if action.handler != SIG_DFL {
                if action.flags & SA_RESETHAND != 0 {
                    group.actions.set(sig, SigAction { handler: SIG_DFL, ..action });
                }
                let now = mine.mask.get();
                let old_mask = mine.saved_mask.take().unwrap_or(now);
                let itself = if action.flags & SA_NODEFER == 0 { bit(sig) } else { 0 };
                mine.mask.set((now | action.mask | itself) & !UNMASKABLE);
                return Attention::Handler(Delivery { info, action, old_mask, result: None, nr: 0, at_call: false });
            }
            let unkillable = group.unkillable && sig != SIGKILL;
            drop(mine);
            drop(group);
            match default_action(sig) {
                Default::Ignore | Default::Continue => {}
                _ if unkillable => {}
                Default::Stop => self.stop_group(sig),
                Default::Terminate | Default::Core => {
                    if sig != SIGKILL && self.tells_of_death(info) {
                        return Attention::Again;
                    }
                    self.group.begin_exit(ExitStatus::Signal { sig, core: false });
                    return Attention::Exit;
                }
            }
        }
    }

    /// A stop signal's default action: all threads stop, the parent is told.
    fn stop_group(self: &Arc<Self>, sig: i32) {
        if sig != SIGSTOP && super::tree::is_orphaned(self, &self.group.pgrp(), None) {
            return;
        }
        {
            let mut group = self.group.signals.lock();
            if group.pending.set() & bit(SIGKILL) != 0 {
                return;
            }
            group.stop = Stop::Stopped(sig);
            self.group.signals_due.set();
            group.pending.flush(STOP_SIGNALS & !bit(sig));
        }
        self.group.links.lock().event = Some(ChildEvent::Stopped(sig));
        for task in self.group.tasks() {
            task.group_stop_over(); // it tells its tracer anew
            if !Arc::ptr_eq(&task, self) {
                task.notify();
            }
        }
        notify_parent(&self.group, SigChild::Stopped(sig));
    }

    /// A signal that a fault makes: it can be neither masked nor ignored, or the process dies of it.
    pub fn force_signal(self: &Arc<Self>, info: SigInfo) {
        let sig = info.sig();
        {
            let mut group = self.group.signals.lock();
            let mut mine = self.signals.lock();
            let action = group.actions.get(sig);
            let mask = mine.mask.get();
            if mask & bit(sig) != 0 || action.handler == SIG_IGN {
                group.actions.set(sig, SigAction::DEFAULT);
                mine.mask.set(mask & !bit(sig));
                group.unkillable = false;
            }
            if action.handler == SIG_DFL {
                group.unkillable = false;
            }
        }
        send(&self.group, Some(self), info);
    }

    pub(super) fn take_delivery(&self) -> Option<Delivery> {
        self.fields.lock().handler.take()
    }

    pub(super) fn set_delivery(&self, delivery: Option<Delivery>) {
        self.fields.lock().handler = delivery;
    }

    /// What the stub needs to build the guest's frame.
    pub(super) fn make_frame(&self, delivery: &Delivery) -> platform::SignalFrame {
        let action = delivery.action;
        let mut mine = self.signals.lock();
        let alt = mine.altstack;
        let on_alt = action.flags & SA_ONSTACK != 0 && alt.enabled();
        // Whatever stack the handler gets.
        if alt.flags & SS_AUTODISARM != 0 {
            mine.set_altstack(crate::signal::AltStack::NONE);
        }
        drop(mine);
        self.lend_mask();
        platform::SignalFrame {
            sig: delivery.info.sig() as u32,
            info: *delivery.info.raw(),
            handler: action.handler,
            restorer: action.restorer,
            mask: delivery.old_mask,
            altstack: alt.shown(),
            // The stub leaves the stack pointer where it is when it is on the alternate stack already.
            on_stack: on_alt.then(|| alt.sp.wrapping_add(alt.size)),
            rax: delivery.result.flatten(),
            restart: delivery.result == Some(None),
            nr: delivery.nr,
            at_call: delivery.at_call,
        }
    }

    /// The frame could not be written: SIGSEGV that can't be caught in the same way twice.
    pub fn frame_failed(self: &Arc<Self>) {
        self.group.signals.lock().actions.set(SIGSEGV, SigAction::DEFAULT);
        self.force_signal(SigInfo::kernel(SIGSEGV));
    }
}
