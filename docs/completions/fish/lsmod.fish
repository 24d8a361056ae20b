# fish completion for lsmod
complete -c lsmod -f
complete -c lsmod -s s -l syslog -d 'send messages to syslog instead of stderr'
complete -c lsmod -s v -l verbose -d 'say more; may be given several times'
complete -c lsmod -s V -l version -d 'print the version'
complete -c lsmod -s h -l help -d 'print this help'
complete -c lsmod -l json -d 'print one JSON document instead of text'
