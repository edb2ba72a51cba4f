//! erofs images as a root and as a volume, with the real kernel.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Place;
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn image(of: &Path, at: &Path, options: &[&str]) -> PathBuf {
    let made = Command::new("mkfs.erofs").args(options).arg(at).arg(of).output();
    let made = made.expect("no mkfs.erofs: install the Debian package erofs-utils");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    at.to_owned()
}

#[test]
fn an_image_is_a_root_and_sandboxes_share_its_pages() {
    let place = Place::real();
    let root = place.dir.join("b/rootfs");
    std::fs::write(root.join("etc/file"), "from the image\n").unwrap();
    let image = image(&root, &place.dir.join("root.erofs"), &[]);
    let (path, before) = (image.display().to_string(), std::fs::read(&image).unwrap());
    // `do`: the image below an overlay in memory.
    let script = "cat /etc/file; echo changed > /etc/file; cat /etc/file; busybox mkdir /new && ls -d /new; busybox cp /bin/busybox /new/busybox; /new/busybox echo copied";
    assert_eq!(
        place.ok(&["do", "--rootfs", &path, "busybox", "sh", "-ec", script]),
        "from the image\nchanged\n/new\ncopied\n"
    );
    let answer = place.run(&[
        "do",
        "--rootfs",
        &path,
        "--overlay2=none",
        "busybox",
        "sh",
        "-c",
        "echo x > /etc/file; echo y > /tmp/y",
    ]);
    assert!(answer.status != 0 && answer.err.contains("Read-only file system"), "{}", answer.err);
    // A bundle, by annotation; also as another user, who gets copies.
    let annotations = json!({ "dev.stockade.spec.rootfs.type": "erofs", "dev.stockade.spec.rootfs.source": path });
    std::fs::remove_dir_all(&root).unwrap();
    std::fs::create_dir(&root).unwrap();
    for user in [0, 1000] {
        place.config(
            &[
                "busybox",
                "sh",
                "-c",
                "cat /etc/file; id -u; busybox sleep 0.01; (echo x > /etc/x) 2>/dev/null || echo read-only",
            ],
            |c| {
                c["annotations"] = annotations.clone();
                c["process"]["user"] = json!({ "uid": user, "gid": user });
            },
        );
        assert_eq!(place.ok(&["run", "x"]), format!("from the image\n{user}\nread-only\n"));
    }
    // What a program maps is the image itself.
    place.config(&["sleep", "100"], |c| {
        c["annotations"] = annotations.clone();
        // By which it may read everything in the image, as root of an engine's container may.
        let caps = json!(["CAP_DAC_OVERRIDE"]);
        c["process"]["capabilities"] = json!({ "bounding": caps, "effective": caps, "permitted": caps });
    });
    place.ok(&["run", "-d", "x"]);
    let pids: Vec<i32> = serde_json::from_str(&place.ok(&["ps", "-f", "json", "x"])).unwrap();
    let number = std::fs::metadata(&image).unwrap().ino().to_string();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", pids[0])).unwrap();
    assert!(maps.lines().any(|line| line.split_whitespace().nth(4) == Some(&number)), "no {number} in {maps}");
    assert!(place.ok(&["debug", "--mounts", "x"]).contains("root.erofs"));
    place.ok(&["delete", "-f", "x"]);
    assert!(std::fs::read(&image).unwrap() == before);
    place.assert_empty();
}

#[test]
fn an_image_is_a_volume() {
    let place = Place::real();
    let tree = place.dir.join("tree");
    std::fs::create_dir_all(tree.join("sub")).unwrap();
    std::fs::write(tree.join("sub/file"), "volume\n").unwrap();
    image(&tree, &place.dir.join("volume.erofs"), &["-E", "noinline_data"]);
    let mounts =
        json!([{ "destination": "/v", "type": "erofs", "source": "../volume.erofs", "options": ["ro", "nosuid"] }]);
    let script = "cat /v/sub/file; (echo x > /v/new) 2>&1 | grep -o 'Read-only'; grep ' /v ' /proc/mounts";
    place.config(&["busybox", "sh", "-c", script], |c| c["mounts"] = mounts.clone());
    let source = place.dir.join("volume.erofs").canonicalize().unwrap();
    let line = format!("{} /v erofs ro,nosuid,relatime 0 0\n", source.display());
    assert_eq!(place.ok(&["run", "x"]), format!("volume\nRead-only\n{line}"));
    // Below an overlay it can be written to.
    let mounts = json!([{ "destination": "/v", "type": "erofs", "source": "../volume.erofs" }]);
    place.config(&["busybox", "sh", "-c", "echo more >> /v/sub/file; cat /v/sub/file"], |c| c["mounts"] = mounts);
    assert_eq!(place.ok(&["--overlay2=all:memory", "run", "x"]), "volume\nmore\n");
    place.assert_empty();
}

#[test]
fn bad_images_are_named() {
    let place = Place::real();
    let root = place.dir.join("b/rootfs");
    std::fs::write(root.join("etc/text"), "text ".repeat(10_000)).unwrap();
    let compressed = image(&root, &place.dir.join("compressed"), &["-zlz4hc"]);
    let plain = place.dir.join("plain");
    std::fs::write(&plain, "no image").unwrap();
    for (path, words) in [(&compressed, "compressed"), (&plain, "no erofs image")] {
        let path = path.display().to_string();
        place.fails(&["do", "--rootfs", &path, "true"], 1, &["erofs image", &path, words]);
        place.config(&["true"], |c| c["mounts"] = json!([{ "destination": "/v", "type": "erofs", "source": path }]));
        place.fails(&["run", "x"], 1, &["erofs image", &path, words]);
    }
    place.config(&["true"], |c| c["mounts"] = json!([{ "destination": "/v", "type": "erofs", "source": "/usr" }]));
    place.fails(&["run", "x"], 1, &["mounts[0].source", "/usr", "regular file"]);
    place.config(&["true"], |c| c["annotations"] = json!({ "dev.stockade.spec.rootfs.type": "erofs" }));
    place.fails(&["run", "x"], 1, &["annotation", "rootfs.source is missing"]);
    place.assert_empty();
}
