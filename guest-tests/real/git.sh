# git: init, commit, clone, branches, merge, gc, fsck on a local repository.
set -eu
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git config --global init.defaultBranch main
mkdir /tmp/repo && cd /tmp/repo && git init -q
for d in $(seq 20); do mkdir d$d; for f in $(seq 20); do echo "$d $f" > d$d/f$f; done; done
git add . && git commit -qm first
test "$(git ls-files | wc -l)" = 400
for n in $(seq 10); do echo "$n" >> d1/f1; git commit -qam "change $n"; done
test "$(git log --oneline | wc -l)" = 11
git checkout -qb side HEAD~5 && echo side > side && git add side && git commit -qm side
git checkout -q main && git merge -q -m merge side && test -f side
git status --porcelain | wc -l | grep -qx 0
git clone -q /tmp/repo /tmp/clone && diff -r -x .git /tmp/repo /tmp/clone
cd /tmp/clone && echo more > more && git add more && git commit -qm more && git -C /tmp/repo pull -q /tmp/clone main
cd /tmp/repo && git gc -q && git fsck --no-progress && git stash list
git archive HEAD | tar t | wc -l | grep -q '^42'
git log -p --stat | tail -1 > /dev/null
git bundle create -q /tmp/b.bundle main && git clone -q -b main /tmp/b.bundle /tmp/frombundle
echo ok
