#!/bin/bash
# Which libclang can generate RocksDB's bindings, for prepare.sh and cargo.sh to read. The library alone is not enough:
# packages such as libclang1, which others bring along, lack the headers (stddef.h, stdbool.h) that belong to it.

# Directories with a libclang, newest version last. libclang-cpp is another library: bindgen cannot use it.
libclang_dirs() {
  local dir
  for dir in /usr/local/lib /usr/local/lib64 /usr/lib /usr/lib64 /usr/lib/llvm-*/lib; do
    if compgen -G "$dir/libclang.so*" >/dev/null || compgen -G "$dir/libclang-[0-9]*.so*" >/dev/null; then echo "$dir"; fi
  done | sort -V
}

# Of these, those with headers: on 64-bit systems of other families the headers are in lib, the library in lib64.
libclang_complete_dirs() {
  local dir
  libclang_dirs | while read -r dir; do
    if compgen -G "$dir/clang/*/include/stddef.h" >/dev/null || compgen -G "${dir%64}/clang/*/include/stddef.h" >/dev/null; then
      echo "$dir"
    fi
  done
}

# Is there one, or did the caller name one?
have_libclang() { [ -n "${LIBCLANG_PATH:-}" ] || [ -n "$(libclang_complete_dirs)" ]; }

# The directory that bindgen must be told; none where it finds the right one by itself. It takes the newest version,
# headers or not. Nothing is named without need: cargo builds RocksDB again whenever LIBCLANG_PATH changes.
libclang_to_name() {
  local complete
  complete=$(libclang_complete_dirs)
  if [ -z "${LIBCLANG_PATH:-}" ] && [ -n "$complete" ] && [ "$complete" != "$(libclang_dirs)" ]; then
    echo "${complete##*$'\n'}"
  fi
}
