# fish completion for insmod
complete -c insmod -s f -l force -d 'load it whatever version of the kernel it was made for; may crash the machine'
complete -c insmod -s s -l syslog -d 'send messages to syslog instead of stderr'
complete -c insmod -s v -l verbose -d 'say more; may be given several times'
complete -c insmod -s V -l version -d 'print the version'
complete -c insmod -s h -l help -d 'print this help'
complete -c insmod -l force-modversion -d 'load it whatever the CRCs of its symbols are'
complete -c insmod -l force-vermagic -d 'load it whatever its version magic is'
complete -c insmod -l explain -d 'say why a load failed, as on a terminal'
