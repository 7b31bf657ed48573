# SPDX-License-Identifier: MIT
# bash completion for bounce-mbox

_bounce_mbox() {
	# shellcheck disable=SC2034 # _init_completion sets them
	local cur prev words cword
	_init_completion -s || return
	case $prev in
	--journal | -j | --verify | --rejects | --tls-ca | --password-file | --token-file)
		_filedir
		return
		;;
	--format)
		mapfile -t COMPREPLY < <(compgen -W 'auto mboxo mboxrd mboxcl mboxcl2 thunderbird' -- "$cur")
		return
		;;
	--order)
		mapfile -t COMPREPLY < <(compgen -W 'oldest archive' -- "$cur")
		return
		;;
	--repair)
		mapfile -t COMPREPLY < <(compgen -W 'nul cr long space all' -- "$cur")
		return
		;;
	--tls)
		mapfile -t COMPREPLY < <(compgen -W 'optional required off' -- "$cur")
		return
		;;
	--auth)
		mapfile -t COMPREPLY < <(compgen -W 'SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN CRAM-MD5 OAUTHBEARER XOAUTH2' -- "$cur")
		return
		;;
	--provider)
		mapfile -t COMPREPLY < <(compgen -W 'gmail office365 yahoo fastmail' -- "$cur")
		return
		;;
	--password-command | --token-command)
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
		return
		;;
	--port | -p | --remove | -r | --delay | -d | --sender | --folder | --hello | --user | --rate | --connections | \
		--backoff | --timeout)
		return
		;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W '--port --remove --delay --journal --dry-run --check --verify --status --resend-doubtful
			--rejects --format --order --with-expunged --repair --sender --folder --resent --hello --tls --tls-ca
			--user --password-file --password-command --token-file --token-command --auth --rate --provider
			--connections --backoff --timeout --json --quiet --help --version' -- "$cur")
		return
	fi
	_filedir
} && complete -F _bounce_mbox bounce-mbox
