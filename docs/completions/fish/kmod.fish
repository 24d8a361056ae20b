# fish completion for kmod
complete -c kmod -f -a 'help list static-nodes'
complete -c kmod -s V -l version -d 'print the version'
complete -c kmod -s h -l help -d 'print this help'
