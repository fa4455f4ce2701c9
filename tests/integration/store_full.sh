#!/bin/sh
# The store on file systems too small for it.
[ "$UMTEST_INNER" ] || exec env UMTEST_INNER=1 unshare -m --propagation private "$0"
dir=$(mktemp -d)
trap 'umount "$dir" 2>/dev/null; rmdir "$dir"' EXIT
code=0
for size in 6m 40m; do
	mount -t tmpfs -o size=$size t "$dir" || exit 1
	timeout 120 "$BUILD/tests/lib/store_full" "$dir/store" >"$dir.out" || code=1
	sed "s/^\(not \)\{0,1\}ok - /&$size: /" "$dir.out"
	grep -q '^not ok' "$dir.out" && code=1
	umount "$dir"
done
rm -f "$dir.out"
exit $code
