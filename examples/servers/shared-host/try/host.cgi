#!/bin/sh
# Shows what this host has. Needs nothing but /bin/sh. Delete it afterwards: it tells
# everyone.
echo "Content-Type: text/plain"
echo
exec 2>&1
echo "user:      $(id)"
echo "folder:    $(pwd)"
echo "system:    $(uname -srm)"
echo "C library: $(getconf GNU_LIBC_VERSION || ldd --version | head -n 1)"
for python in python3 /usr/bin/python3 /usr/bin/python3.* /usr/local/bin/python3.* \
    /opt/*/bin/python3; do
    "$python" -c 'import sys; print("Python:    %s, %d.%d.%d" % (
        (sys.executable,) + sys.version_info[:3]))' 2>/dev/null
done
folder=${TMPDIR:-/tmp}
if [ -w "$folder" ]; then
    echo "temporary: $folder, scripts may write there"
else
    echo "temporary: $folder, scripts may not write there"
fi
echo "limits:"
# POSIX has only "ulimit -f"; dash and bash have more.
# shellcheck disable=SC3045
ulimit -a
