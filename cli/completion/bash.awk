# The table of cli/commands as a completion for bash: awk -v program=NAME -f bash.awk TABLE
BEGIN { FS = "\t"; fn = program; gsub(/-/, "_", fn) }
$1 == "verb" {
	parent = name = $2
	sub(/.* /, "", name)
	if (!sub(/ [^ ]*$/, "", parent)) parent = ""
	words[parent] = words[parent] " " name
	verbs[parent] = verbs[parent] " " name
	see($2); see(parent)
}
$1 == "opt" {
	words[$2] = words[$2] " " $3
	if ($4 != "") values[$2] = values[$2] (values[$2] == "" ? "" : "|") $3
	if ($4 ~ /^[a-z]+(\|[a-z]+)+$/) { how = $4; gsub(/\|/, " ", how); how = "words " how }
	else if ($4 ~ /^DIR/) how = "dirs"
	else if ($4 ~ /^(FILE|PATH)/) how = "files"
	else how = "none"
	if ($4 != "") rules[$2] = rules[$2] "\t\t\"" $2 " " $3 "\") how=\"" how "\" ;;\n"
	see($2)
}
function see(path) { if (!(path in seen)) { seen[path] = 1; order[n++] = path } }
END {
	print "# bash completion for " program ", made from what it tells of itself"
	print "_" fn "() {"
	print "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path= word how= words= verbs= i"
	print "\t# --option=value comes as three words"
	print "\tif [ \"$cur\" = = ]; then cur="
	print "\telif [ \"$prev\" = = ]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi"
	print "\tlocal skip="
	print "\tfor ((i = 1; i < COMP_CWORD; i++)); do"
	print "\t\tword=${COMP_WORDS[i]}"
	print "\t\t[ \"$word\" != = ] || { skip=1; continue; }"
	print "\t\tif [ -n \"$skip\" ]; then skip=; continue; fi"
	print "\t\tcase $word in"
	print "\t\t-*) " "_" fn "_value \"$path\" \"$word\" && [ \"${COMP_WORDS[i+1]-}\" != = ] && skip=1 ;;"
	print "\t\t*)"
	print "\t\t\t_" fn "_words \"$path\""
	print "\t\t\tcase \" $verbs \" in"
	print "\t\t\t*\" $word \"*) path=${path:+$path }$word ;;"
	print "\t\t\tesac ;;"
	print "\t\tesac"
	print "\tdone"
	print "\tCOMPREPLY=()"
	print "\tif _" fn "_value \"$path\" \"$prev\"; then"
	print "\t\tcase $how in"
	print "\t\twords*) COMPREPLY=($(compgen -W \"${how#words}\" -- \"$cur\")) ;;"
	print "\t\tdirs) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\") ;;"
	print "\t\tfiles) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;"
	print "\t\tesac"
	print "\t\treturn"
	print "\tfi"
	print "\t_" fn "_words \"$path\""
	print "\tcase $cur in"
	print "\t-*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;"
	print "\t*) COMPREPLY=($(compgen -W \"$verbs\" -- \"$cur\"))"
	print "\t   [ -n \"$verbs\" ] || mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;"
	print "\tesac"
	print "}"
	print "# Sets how: what the option's value is. False where it has none."
	print "_" fn "_value() {"
	print "\thow="
	print "\tcase \"$1 $2\" in"
	for (k = 0; k < n; k++) printf "%s", rules[order[k]]
	print "\tesac"
	print "\t[ -n \"$how\" ]"
	print "}"
	print "# Sets words and verbs of a verb."
	print "_" fn "_words() {"
	print "\twords= verbs="
	print "\tcase $1 in"
	for (k = 0; k < n; k++) {
		path = order[k]
		print "\t\"" path "\") words=\"" substr(words[path], 2) "\" verbs=\"" substr(verbs[path], 2) "\" ;;"
	}
	print "\tesac"
	print "}"
	print "complete -F _" fn " " program
}
