# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion for bash. Verbs, options and the kinds of their values are read from --help, so they are
# those of the program that is completed.

# _portmirror_words PROGRAM ROOT KIND CURRENT: what may stand where the help says KIND, a line each.
_portmirror_words() {
	local path
	case $3 in
	SEL)
		for path in /sys/class/net/*; do
			[[ $path == */lo ]] || echo "port:${path##*/}"
			[[ ! -d $path/bridge ]] || echo "bridge:${path##*/}"
		done
		[[ $4 == *:* ]] || printf '%s\n' vm: mac: # the machines themselves only root can see
		"$1" vms --json 2>/dev/null |
			sed -nE 's/^ *"name": "([[:alnum:]._/-]+)",$/vm:\1/p
			         s/^ *"mac": "([0-9a-f:]+)"$/mac:\1/p'
		;;
	INSIDE,OUTSIDE) # two selectors
		local before=''
		[[ $4 != *,* ]] || before=${4%,*},
		_portmirror_words "$1" "$2" SEL "${4#"$before"}" | while IFS= read -r path; do
			echo "$before$path"
		done
		;;
	NAME | '[NAME]' | '[NAME…]')
		for path in "$2"/{etc,run}/portmirror/sessions.d/*.yaml; do
			path=${path##*/}
			[[ $path == '*.yaml' ]] || echo "${path%.yaml}"
		done
		;;
	VERB) "$1" --help | sed -nE '/^Verbs:/,/^$/s/^  ([a-z]+) .*/\1/p' ;;
	OPTION) "$1" "${@:5}" --help 2>/dev/null | sed -nE 's/^  (-., |    )(--[a-z-]+).*/\2/p' ;;
	'[FILE|DIR]') compgen -f -- "$4" ;;
	DIR) compgen -d -- "$4" ;;
	*\|*) tr '|' '\n' <<<"$3" ;;
	esac
}

_portmirror() {
	local line=${COMP_LINE:0:COMP_POINT} root=${PORTMIRROR_ROOT-} program=$1
	local word=${line##*[[:space:]]} words verb='' previous='' kind='' i option breaks reply

	read -ra words <<<"${line%"$word"}"
	for ((i = 1; i < ${#words[@]}; i++)); do
		previous=${words[i]}
		if [[ $previous == --root ]]; then
			root=${words[++i]-}
			[[ -z $root ]] || previous=''
		elif [[ $previous != -* && -z $verb ]]; then
			verb=$previous
		fi
	done
	option=''
	if [[ $word == --*=* ]]; then
		option=${word%%=*}= previous=${word%%=*}
	fi
	local current=${word#"$option"}

	# The value of an option, an option, a verb, an argument of the verb.
	if [[ $previous == --* ]]; then
		kind=$("$program" ${verb:+"$verb"} --help 2>/dev/null |
			sed -nE "s/^  (-., |    )$previous ([^ ]+).*/\2/p")
	fi
	if [[ -z $kind && -z $option && $current == -* ]]; then
		kind=OPTION
	elif [[ -z $kind && ( -z $verb || $verb == help ) ]]; then
		kind=VERB
	elif [[ -z $kind && $verb != add && $verb != inline ]]; then # whose name is a new one
		kind=$("$program" "$verb" --help 2>/dev/null | sed -nE '1s/.*\[OPTION…\] //p')
	fi

	# Readline replaces what stands behind the last of its word breaks.
	breaks=${COMP_WORDBREAKS//[^:=]/}
	[[ -z $breaks ]] || breaks=${word%"${word##*["$breaks"]}"}
	COMPREPLY=()
	while IFS= read -r reply; do
		[[ $reply != "$current"* ]] || COMPREPLY+=("${option}$reply")
	done < <(_portmirror_words "$program" "$root" "$kind" "$current" ${verb:+"$verb"})
	COMPREPLY=("${COMPREPLY[@]#"$breaks"}")
	[[ $kind != *DIR* ]] || compopt -o filenames 2>/dev/null
	[[ ${COMPREPLY[*]} != *: ]] || compopt -o nospace 2>/dev/null
}

complete -F _portmirror portmirror
