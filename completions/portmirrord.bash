# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion for bash. The options are those that the program's --help tells.

_portmirrord() {
	local line=${COMP_LINE:0:COMP_POINT} option='' previous current words=() offers

	current=${line##*[[:space:]]}
	read -ra words <<<"${line%"$current"}"
	previous=${words[-1]}
	if [[ $current == --*=* ]]; then
		option=${current%%=*}= previous=${current%%=*} current=${current#*=}
	fi
	case $previous in
	--listen) offers=$(compgen -W 'unix: tcp:127.0.0.1:' -- "$current") ;;
	--group) offers=$(compgen -g -- "$current") ;;
	--host) offers= ;;
	--token-file | --certificate | --key) offers=$(compgen -f -- "$current") ;;
	--root) offers=$(compgen -d -- "$current") ;;
	*) offers=$(compgen -W "$("$1" --help | sed -nE 's/^  (-., |    )(--[a-z-]+).*/\2/p')" -- "$current") ;;
	esac
	COMPREPLY=()
	[[ -z $offers ]] || mapfile -t COMPREPLY <<<"$offers"

	# Readline replaces what stands behind the last of its word breaks.
	current=$option$current
	if [[ $current == *[:=]* && $COMP_WORDBREAKS == *:* ]]; then
		COMPREPLY=("${COMPREPLY[@]/#/$option}")
		COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*[:=]}"}"}")
	fi
	[[ ${COMPREPLY[*]} != *: ]] || compopt -o nospace 2>/dev/null
	case $previous in
	--token-file | --certificate | --key | --root) compopt -o filenames 2>/dev/null ;;
	esac
}

complete -F _portmirrord portmirrord
