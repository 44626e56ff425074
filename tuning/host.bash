# Functions that check and apply share: they read /proc and /sys and change nothing. A missing file
# reads as empty.

# Prints an error about the arguments and exits.
refuse() {
  printf 'error: %s\n' "$1" >&2
  usage >&2
  exit 2
}

# Parses the arguments into cores, data and interfaces, and into is_real if the script has it.
read_arguments() {
  local cpu interface
  cores=$(look /sys/devices/system/cpu/online) || cores=0-$(($(nproc --all) - 1))
  data=purser-data
  interfaces=()
  while (($#)); do
    case $1 in
      --help) usage && exit 0 ;;
      --yes)
        [[ -v is_real ]] || refuse "unknown argument: $1"
        is_real=yes
        shift
        ;;
      --cores | --data | --interface)
        [[ -n ${2-} ]] || refuse "$1 needs a value"
        case $1 in
          --cores) cores=$2 ;;
          --data) data=$2 ;;
          --interface) interfaces+=("$2") ;;
        esac
        shift 2
        ;;
      *) refuse "unknown argument: $1" ;;
    esac
  done
  expand "$cores" >/dev/null || refuse "--cores: $cores is not a list of CPUs"
  for cpu in $(expand "$cores"); do
    [[ ! -d /sys/devices/system/cpu || -d /sys/devices/system/cpu/cpu$cpu ]] ||
      refuse "--cores: there is no CPU $cpu"
  done
  for interface in "${interfaces[@]}"; do
    [[ -d /sys/class/net/$interface ]] || refuse "--interface: there is no interface $interface"
  done
  ((${#interfaces[@]})) || mapfile -t interfaces < <(all_interfaces)
}

# The words of a file, in one line.
look() {
  local text
  text=$(cat -- "$1" 2>/dev/null) || return 1
  text=${text//$'\n'/ }
  text=${text//$'\t'/ }
  printf '%s' "$text"
}

# The choice in brackets of a file such as `always [madvise] never`.
chosen() {
  local text
  text=$(look "$1") || return 1
  [[ $text == *\[*\]* ]] || return 1
  text=${text#*[}
  printf '%s' "${text%%]*}"
}

# A list such as 0-2,5 as one number a line. Fails if it is no such list.
expand() {
  local part first last cpu
  [[ $1 =~ ^[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*$ ]] || return 1
  for part in ${1//,/ }; do
    first=$((10#${part%-*})) last=$((10#${part#*-}))
    ((first <= last)) || return 1
    for ((cpu = first; cpu <= last; cpu++)); do echo "$cpu"; done
  done
}

# Whether each CPU of the first list is in the second.
within() {
  local cpu inside
  inside=" $(expand "$2" | tr '\n' ' ')"
  for cpu in $(expand "$1"); do
    [[ $inside == *" $cpu "* ]] || return 1
  done
}

# A mask such as ff,00000001 as a list of CPUs, with commas; empty if none is set.
unmask() {
  local mask=${1//,/} cpus=() digit bit at=0
  while [[ -n $mask ]]; do
    digit=$((16#${mask: -1}))
    mask=${mask%?}
    for bit in 0 1 2 3; do
      ((digit >> bit & 1)) && cpus+=($((at + bit)))
    done
    ((at += 4))
  done
  local IFS=,
  printf '%s' "${cpus[*]-}"
}

# The numbers of the interrupts of a device (its directory under /sys/devices) that carry data.
interrupts() {
  local dir=$1 name numbers=() irq line
  name=${dir##*/}
  while [[ $dir == /sys/devices/* && ! -d $dir/msi_irqs ]]; do dir=${dir%/*}; done
  [[ $dir == /sys/devices/*/* ]] && numbers=($(ls -- "$dir/msi_irqs" 2>/dev/null))
  while read -r irq line; do
    irq=${irq%:}
    [[ $irq =~ ^[0-9]+$ ]] || continue
    # Interrupts that only report changes of state carry no data.
    [[ $line =~ (config|control|event|async|mgmnt)[^\ ]*$ ]] && continue
    if ((${#numbers[@]})); then
      [[ " ${numbers[*]} " == *" $irq "* ]] && echo "$irq"
    elif [[ -n $name && "${line##* }" =~ ^$name(-|$) ]]; then
      echo "$irq"
    fi
  done 2>/dev/null </proc/interrupts
}

# The CPUs that take an interrupt.
taken_by() {
  local cpus
  cpus=$(look "/proc/irq/$1/effective_affinity_list")
  [[ -n $cpus ]] || cpus=$(look "/proc/irq/$1/smp_affinity_list")
  printf '%s' "$cpus"
}

# The interfaces that are up, without lo.
all_interfaces() {
  local dir flags
  for dir in /sys/class/net/*; do
    flags=$(look "$dir/flags") || continue
    [[ ${dir##*/} != lo ]] && ((flags & 1)) && echo "${dir##*/}"
  done
}

# The mount of a path, or of its nearest existing parent: `major:minor type options source`.
mount_of() {
  local path=$1 point line fields at found=
  while [[ ! -e $path ]]; do
    [[ $path == */* ]] || path=./$path
    path=${path%/*}
    [[ -n $path ]] || path=/
  done
  point=$(stat -c %m -- "$path" 2>/dev/null) || return 1
  while read -r line; do
    read -ra fields <<<"$line"
    [[ $(printf '%b' "${fields[4]-}") == "$point" ]] || continue
    for ((at = 5; at < ${#fields[@]}; at++)); do
      [[ ${fields[at]} == - ]] || continue
      found="${fields[2]} ${fields[at + 1]} ${fields[5]},${fields[at + 3]-} ${fields[at + 2]}"
    done
  done 2>/dev/null </proc/self/mountinfo
  [[ -n $found ]] && printf '%s' "$found"
}

# The directory of a whole disk, by `major:minor` of it or of its partition.
disk_of() {
  local dir
  dir=$(readlink -f -- "/sys/dev/block/$1" 2>/dev/null) && [[ -d $dir ]] || return 1
  [[ -e $dir/partition ]] && dir=${dir%/*}
  printf '%s' "$dir"
}

# The disks beneath a device (LVM, RAID, encryption), or the device itself.
bottom_of() {
  local slave any=
  for slave in "$1"/slaves/*; do
    [[ -e $slave ]] || continue
    any=1
    slave=$(readlink -f -- "$slave")
    [[ -e $slave/partition ]] && slave=${slave%/*}
    bottom_of "$slave"
  done
  [[ -n $any ]] || echo "$1"
}

# Whether this is a virtual machine.
is_virtual() { grep -qw hypervisor /proc/cpuinfo 2>/dev/null || [[ -e /sys/hypervisor/type ]]; }
