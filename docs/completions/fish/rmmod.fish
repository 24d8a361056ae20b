# fish completion for rmmod
complete -c rmmod -f -a '(cut -d\' \' -f1 /proc/modules 2>/dev/null)'
complete -c rmmod -s f -l force -d 'unload even what is in use; may crash the machine'
complete -c rmmod -s s -l syslog -d 'send messages to syslog instead of stderr'
complete -c rmmod -s v -l verbose -d 'say more; may be given several times'
complete -c rmmod -s V -l version -d 'print the version'
complete -c rmmod -s h -l help -d 'print this help'
