#!/usr/bin/env bash
# The package, built, examined, installed in a minimal Debian, used, removed and purged.
set -u
cd "$(dirname "$0")/../.."
bad=0
result() { # code, text
	if [ "$1" = 0 ]; then echo "ok - $2"; else echo "not ok - $2"; bad=1; fi
}
deb=$(tests/lib/deb) || { echo "not ok - the package builds"; exit 1; }
echo "ok - the package builds"
contents=$(dpkg-deb -c "$deb" | awk '{print $6}')
missing=
for f in ./usr/bin/umiak ./usr/bin/umiak-oci ./usr/libexec/umiak/umiak-shim \
	./usr/libexec/umiak/umiak-image ./lib/systemd/system/umiak.service ./etc/umiak/config.yaml \
	./usr/share/man/man1/umiak.1.gz ./usr/share/man/man5/umiak.yaml.5.gz; do
	grep -qx "$f" <<<"$contents" || missing+=" $f"
done
[ -z "$missing" ] || echo "# missing:$missing"
result "$([ -z "$missing" ]; echo $?)" "the package has programs, units, pages and configuration"
conffiles=$(dpkg-deb --ctrl-tarfile "$deb" | tar -xOf - ./conffiles | sort | tr '\n' ' ')
[ "$conffiles" = "/etc/umiak/agent.yaml /etc/umiak/config.yaml /etc/umiak/server.yaml " ]
result $? "what an administrator changes is a conffile"
found=$(lintian --allow-root --fail-on error "$deb" 2>&1)
code=$?
[ $code = 0 ] || sed 's/^/# /' <<<"$found"
result $code "lintian finds no error"

work=$(mktemp -d /tmp/umiak-chroot.XXXXXX)
trap 'rm -rf "$work"' EXIT
# The root with all that the package depends on, kept by that list.
depends=$(dpkg-deb -f "$deb" Depends | sed 's/([^)]*)//g; s/ //g')
base=/var/tmp/umiak-images/deb-root-$(sha256sum <<<"$depends" | cut -c1-16).tar
if [ ! -e "$base" ]; then
	mkdir -p /var/tmp/umiak-images
	mmdebstrap --quiet --format=tar --variant=minbase --include="$depends,busybox-static,init-system-helpers" \
		bookworm "$base.$$" >"$work/log" 2>&1 || { sed 's/^/# /' "$work/log"; echo "not ok - a minimal root"; exit 1; }
	mv "$base.$$" "$base"
fi
root=$work/root
mkdir "$root"
tar -C "$root" -xf "$base"
cp "$deb" "$root/umiak.deb"
cat >"$root/try" <<'END'
#!/bin/bash
# In namespaces of its own, the root changed: nothing of the machine is in reach. The root is a
# mount, because containers need one.
bad=0
result() { if [ "$1" = 0 ]; then echo "ok - $2"; else echo "not ok - $2"; bad=1; fi; }
quiet() { "$@" >/out 2>&1 || { sed 's/^/# /' /out; return 1; }; }
export DEBIAN_FRONTEND=noninteractive
quiet dpkg -i /umiak.deb
result $? "it installs"
umiak --version | grep -q '^umiak [0-9]'
result $? "umiak tells its version"
! pgrep umiak >/dev/null 2>&1 && ! ls /etc/systemd/system/*/umiak* >/dev/null 2>&1
result $? "nothing is started or enabled by the installation"
mkdir -p /b/rootfs/bin
cp /bin/busybox /b/rootfs/bin/sh
umiak-oci spec --bundle /b
sed -i 's/"terminal": true/"terminal": false/; s/"args": \["sh"\]/"args": ["sh", "-c", "echo from $$"]/' /b/config.json
# The chroot has no cgroups, and the example mounts them.
perl -0pi -e 's/,\s*\{"destination": "\/sys\/fs\/cgroup".*?\}//s' /b/config.json
got=$(umiak-oci --cgroup-manager disabled run --bundle /b one 2>/out)
[ "$got" = "from 1" ] || { echo "# $got"; sed 's/^/# /' /out; false; }
result $? "umiak-oci runs a container"
tar -C /b/rootfs -cf /b.tar . && quiet umiak image import /b.tar busybox && umiak image list | grep -q busybox
result $? "umiak image imports"
echo 'log-level: debug' >>/etc/umiak/config.yaml
quiet dpkg -i --force-confold /umiak.deb && grep -q '^log-level: debug' /etc/umiak/config.yaml
result $? "installed again, a changed configuration stays"
quiet dpkg -r umiak
result $? "it is removed"
[ ! -e /usr/bin/umiak ] && [ -d /var/lib/umiak/images ] && [ -e /etc/umiak/config.yaml ]
result $? "state and configuration outlive that"
quiet dpkg -P umiak
result $? "it is purged"
left=$(find /var/lib/umiak /etc/umiak /usr/libexec/umiak /var/log/pods 2>/dev/null)
[ -z "$left" ] || echo "# $left"
result "$([ -z "$left" ]; echo $?)" "nothing is left of it"
exit $bad
END
chmod +x "$root/try"
timeout 300 unshare -m -n -p -u -i --fork --kill-child --propagation private sh -c '
	mount --bind "$0" "$0" && mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/run" &&
	mount -t tmpfs tmpfs "$0/tmp" && exec chroot "$0" /try' "$root" || bad=1
exit $bad
