# SPDX-License-Identifier: MIT
# bash completion for stopexec(1)
# shellcheck shell=bash

_stopexec() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]-}
	local -A options=(
		[run]='--user --at --exec --env --timeout --leave --gdb --strace --tmux --help'
		[next]='--at --uid --parent --by --comm --cgroup --timeout --count --wait --leave --json --gdb --strace --tmux --help'
		[watch]='--at --uid --parent --by --comm --cgroup --timeout --gdb --strace --tmux --exec --help'
		[list]='--json --help' [cont]='--help'
		[attach]='--gdb --strace --tmux --timeout --help'
		[preload]='--group --from --json --help'
	)
	local words i

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		words="${!options[*]} help"
		[[ $cur != -* ]] || words='--help --version'
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		return
	fi
	case $prev in
	--at) mapfile -t COMPREPLY < <(compgen -W 'first entry main' -- "$cur") && return ;;
	--by) mapfile -t COMPREPLY < <(compgen -W 'fanotify bpf' -- "$cur") && return ;;
	--cgroup) mapfile -t COMPREPLY < <(compgen -d -- "$cur") && return ;;
	--user | -u | --uid) mapfile -t COMPREPLY < <(compgen -u -- "$cur") && return ;;
	--group | -g) mapfile -t COMPREPLY < <(compgen -g -- "$cur") && return ;;
	--from) mapfile -t COMPREPLY < <(compgen -d -- "$cur") && return ;;
	esac
	if [[ $verb == run ]]; then
		# Behind the program stand its own words.
		for ((i = 2; i < COMP_CWORD; i++)); do
			case ${COMP_WORDS[i]} in
			-u | -N | -e | -t | --user | --at | --exec | --env | --timeout) ((i++)) ;;
			-*) ;;
			*)
				mapfile -t COMPREPLY < <(compgen -f -- "$cur")
				return
				;;
			esac
		done
	fi
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "${options[$verb]-}" -- "$cur")
		return
	fi
	case $verb in
	run | next | watch) mapfile -t COMPREPLY < <(compgen -c -- "$cur") ;;
	cont | attach)
		words=$(stopexec list 2>/dev/null | awk 'NR > 1 { print $1 }')
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		;;
	preload) mapfile -t COMPREPLY < <(compgen -W 'install remove status' -- "$cur") ;;
	esac
}
complete -o filenames -F _stopexec stopexec
