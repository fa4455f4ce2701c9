#!/usr/bin/env bash
# The package: what it says and has. tests/long/deb_chroot.sh installs it.
set -u
cd "$(dirname "$0")/../.."
bad=0
result() { # code, text
	if [ "$1" = 0 ]; then echo "ok - $2"; else echo "not ok - $2"; bad=1; fi
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The scripts for a machine without systemd, in folders of their own: what they name is put there.
script() { # name, folder, argument
	sed -e "s|/var/lib/umiak|$2/var/lib/umiak|g; s|/var/log/pods|$2/var/log/pods|g" \
		-e "s|/etc/umiak|$2/etc/umiak|g; s|/run/|$2/run/|g" "debian/umiak.$1" >"$work/$1"
	sh -e "$work/$1" "$3"
}
for f in debian/umiak.prerm debian/umiak.postrm; do sh -n $f || bad=1; done
state() {
	rm -rf "$work/m"
	mkdir -p "$work/m/var/lib/umiak/server" "$work/m/etc/umiak/pki" "$work/m/etc/umiak/manifests" \
		"$work/m/var/log/pods/ours" "$work/m/var/log/pods/theirs"
	touch "$work/m/var/lib/umiak/server/db" "$work/m/etc/umiak/admin.kubeconfig" \
		"$work/m/var/log/pods/ours/.umiak"
}
state
before=$(cd "$work/m" && find . | sort)
for how in remove upgrade failed-upgrade abort-install; do script postrm "$work/m" $how; done
[ "$before" = "$(cd "$work/m" && find . | sort)" ]
result $? "removing or upgrading the package keeps all state"
script postrm "$work/m" purge
left=$(cd "$work/m" && find . -mindepth 1 | sort | tr '\n' ' ')
[ "$left" = "./etc ./var ./var/lib ./var/log ./var/log/pods ./var/log/pods/theirs " ]
result $? "a purge takes all state, and nobody else's logs"
[ "$left" = "./etc ./var ./var/lib ./var/log ./var/log/pods ./var/log/pods/theirs " ] || echo "# $left"

version=$(sed -n 's/^AC_INIT(\[umiak\], \[\(.*\)\])/\1/p' configure.ac)
[ "$(dpkg-parsechangelog -S Version | sed 's/[-+~].*//')" = "$version" ]
result $? "the package has the program's version"
missing=$(comm -23 <(sed -n '/^\[build\]/,/^\[run\]/{/-dev$/p}' packages.txt | sort) \
	<(sed -n '/^Build-Depends:/,/^Standards/p' debian/control | tr ', ' '\n\n' | grep -e '-dev$' | sort))
[ -z "$missing" ] || echo "# $missing"
result "$([ -z "$missing" ]; echo $?)" "the package is built with all that the tree is"
exit $bad
