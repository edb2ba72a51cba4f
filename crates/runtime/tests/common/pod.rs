//! A pod for tests: container `pause` makes its sandbox, others join it.

use serde_json::{Value, json};

use super::{Place, wait_for};

/// A place where container `pause` runs, as a pod's first one.
pub fn pod() -> Place {
    pod_with(|_, _| ())
}

/// The same with another config.json.
pub fn pod_with(change: impl FnOnce(&Place, &mut Value)) -> Place {
    pod_under(&[], change)
}

/// The same with flags for the sandbox.
pub fn pod_under(flags: &[&str], change: impl FnOnce(&Place, &mut Value)) -> Place {
    let place = Place::real();
    place.config(&["sleep", "1000"], |c| {
        c["hostname"] = json!("pod");
        c["annotations"] = json!({ "io.kubernetes.cri.container-type": "sandbox" });
        change(&place, c);
    });
    assert_eq!(place.run(&[flags, &["run", "-d", "pause"]].concat()).err, "");
    place
}

/// config.json of a container of it.
pub fn member(place: &Place, args: &[&str]) {
    member_with(place, args, |_| ());
}

/// The same, changed.
pub fn member_with(place: &Place, args: &[&str], change: impl FnOnce(&mut Value)) {
    place.config(args, |c| {
        c["hostname"] = json!("member");
        c["mounts"] = json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]);
        c["linux"] = json!({ "namespaces": [
            { "type": "pid" }, { "type": "mount" },
            { "type": "network", "path": "/proc/1/ns/net" }, { "type": "ipc", "path": "/proc/1/ns/ipc" }, { "type": "uts", "path": "/proc/1/ns/uts" },
        ] });
        c["annotations"] =
            json!({ "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "pause" });
        change(c);
    });
}

/// Processes of the binary's own whose command line begins like this.
pub fn processes(place: &Place, word: &str) -> Vec<i32> {
    place.processes().into_iter().filter(|(_, line)| line.starts_with(word)).map(|(pid, _)| pid).collect()
}

/// One kernel process, one gofer, nothing else.
pub fn only_the_first(place: &Place) {
    wait_for(
        || processes(place, "stockade gofer").len() == 1 && processes(place, "stockade container").is_empty(),
        || format!("left: {:?}", place.processes()),
    );
    assert_eq!(processes(place, "stockade sandbox").len(), 1);
}

pub fn end(place: &Place) {
    let answer = place.run(&["delete", "--force", "pause"]);
    assert_eq!((answer.status, answer.err.as_str()), (0, ""));
    wait_for(|| place.processes().is_empty(), || format!("left: {:?}", place.processes()));
    place.assert_empty();
}

/// Fails where a container of the pod is made, says so in one line with these words, and leaves nothing. `change` spoils its config.json.
pub fn cannot_join(place: &Place, id: &str, change: impl FnOnce(&mut Value), words: &[&str]) {
    member_with(place, &["true"], change);
    let answer = place.run(&["run", id]);
    assert_ne!(answer.status, 0, "{words:?}");
    let found = words.iter().all(|word| answer.err.contains(word));
    assert!(found && answer.err.trim_end().lines().count() == 1, "{words:?}: {}", answer.err);
    assert_eq!(place.run(&["list", "-q"]).out, "pause\n");
    only_the_first(place);
}
