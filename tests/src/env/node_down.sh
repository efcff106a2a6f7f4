#!/bin/bash
# Takes a node down: the one way for a normal end, a panic, and a killed test (node.rs runs it when its pipe closes).
#
# node_down.sh wait|now HOME BRIDGE ADDRESS: HOME is the node's folder, BRIDGE its pods' bridge, ADDRESS its address on lo.
# `wait` first waits until standard input is closed. Everything is found by what only this node has: paths under HOME,
# the kubepods control groups, its bridge. Run twice, it does nothing the second time.
set -u
[ "$1" = wait ] && cat >/dev/null
home=$2 bridge=$3 address=$4

# Processes of the node itself first, so that nothing starts a pod again. Their command lines name HOME.
node_processes() {
  local file pid
  for file in /proc/[0-9]*/cmdline; do
    pid=${file#/proc/}; pid=${pid%/cmdline}
    [ "$pid" = $$ ] && continue
    tr '\0' ' ' <"$file" 2>/dev/null | grep -qF "$home/" || continue
    tr '\0' ' ' <"$file" 2>/dev/null | grep -qE '(kubelet|kube-proxy|kube-controller-manager|kube-scheduler|containerd)' || continue
    tr '\0' ' ' <"$file" 2>/dev/null | grep -q node_down && continue
    echo "$pid"
  done
}
for _ in 1 2 3; do
  pids=$(node_processes)
  [ -n "$pids" ] || break
  # shellcheck disable=SC2086
  kill -9 $pids 2>/dev/null
  sleep 0.1
done

# Then what ran in pods.
for _ in $(seq 50); do
  pids=$(find /sys/fs/cgroup -path '*kubepods*' -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u)
  [ -n "$pids" ] || break
  # shellcheck disable=SC2086
  kill -9 $pids 2>/dev/null
  sleep 0.05
done

# What lies outside HOME but is named inside: the pods' network name spaces, runc's state, CNI's results.
state="$home/containerd/state/io.containerd.runtime.v2.task/k8s.io"
namespaces=$(grep -rhoE 'netns/cni-[0-9a-f-]+' "$state"/*/config.json 2>/dev/null | sort -u)
containers=$(ls "$state" 2>/dev/null)

# Mounts, the deepest first.
for _ in 1 2 3; do
  mounts=$(awk -v home="$home/" '{ if (index($5, home) == 1) print $5 }' /proc/self/mountinfo | sort -r)
  [ -n "$mounts" ] || break
  echo "$mounts" | while read -r mount; do umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null; done
done

for namespace in $namespaces; do
  umount "/run/$namespace" 2>/dev/null
  rm -f "/run/$namespace"
done
for container in $containers; do
  rm -rf "/run/containerd/runc/k8s.io/$container"
  rm -f "/var/lib/cni/results/"*"-$container-"*
done
for link in /sys/class/net/"$bridge"/brif/*; do
  [ -e "$link" ] || continue
  ip link delete "$(basename "$link")" 2>/dev/null
done
ip link delete "$bridge" 2>/dev/null
nft delete table ip kube-proxy 2>/dev/null
nft delete table ip6 kube-proxy 2>/dev/null
ip address delete "$address/32" dev lo 2>/dev/null

# Control groups, the deepest first.
for _ in $(seq 20); do
  find /sys/fs/cgroup -depth -type d -path '*kubepods*' -exec rmdir {} + 2>/dev/null
  [ -n "$(find /sys/fs/cgroup -type d -name 'kubepods*' 2>/dev/null | head -1)" ] || break
  sleep 0.1
done

# The logs that the kubelet keeps outside its folder: what was not there before.
for folder in /var/log/pods /var/log/containers; do
  for entry in "$folder"/*; do
    [ -e "$entry" ] || [ -L "$entry" ] || continue
    grep -qxF "$entry" "$home/logs-before" || rm -rf "$entry"
  done
  rmdir "$folder" 2>/dev/null
done
[ -n "${CORDWOOD_KEEP:-}" ] || rm -rf "$home"
exit 0
