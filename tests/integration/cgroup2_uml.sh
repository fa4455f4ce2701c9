#!/bin/sh
# Pods and containers on real cgroup v2: user-mode-linux boots on this machine's own root, read-only, with memory
# file systems for what is written, and runs other tests there with the plain build.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
[ -x "$PLAIN/umiak" ] || { echo "not ok - $PLAIN is not built"; exit 1; }
python=$(command -v python3)
cat >"$dir/init" <<END
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mkdir /run/host
mount -t hostfs -o / none /run/host
mount -t cgroup2 none /sys/fs/cgroup
busybox insmod /usr/lib/uml/modules/\$(uname -r)/kernel/fs/overlayfs/overlay.ko
ip link set lo up
cd /run/host$TOP
grep -q memory /sys/fs/cgroup/cgroup.controllers && echo "ok - cgroup v2 with a memory controller"
export UMTEST_INNER=1 BUILD=/run/host$PLAIN TOP=/run/host$TOP
timeout 200 $python tests/integration/agent_static.py a_pod_runs killed restart_policies share \
	exec_probes shim grace memory seccomp
pods=\$?
timeout 120 $python tests/integration/oci_commands.py events update sub_cgroup paused &&
	timeout 60 $python tests/integration/oci_fields.py network huge block check_before &&
	timeout 60 $python tests/integration/oci_runtime.py pids_limit memory_limit &&
	timeout 100 $python tests/integration/oci_limits.py
echo "EXIT \$((pods + \$?))"
echo o >/proc/sysrq-trigger
sleep 5
END
chmod +x "$dir/init"
# This folder and the tree may be under /tmp, which the guest covers after it has started: it sees
# them under /run/host.
timeout 420 linux.uml mem=1G root=/dev/root rootfstype=hostfs rootflags=/ init="$dir/init" \
	con=null con0=fd:0,fd:1 quiet </dev/null >"$dir/out" 2>&1
sed -n 's/^\(ok\|not ok\) - /\1 - cgroup v2: /p; s/^#/#/p' "$dir/out"
grep -q '^EXIT 0' "$dir/out" && exit 0
tail -30 "$dir/out"
exit 1
