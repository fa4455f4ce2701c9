# The table of cli/commands as a completion for zsh: awk -v program=NAME -f zsh.awk TABLE
BEGIN { FS = "\t"; fn = program; gsub(/-/, "_", fn) }
function quote(text) {
	gsub(/\\/, "\\\\", text)
	gsub(/\[/, "\\[", text); gsub(/\]/, "\\]", text); gsub(/:/, "\\:", text)
	gsub(/\047/, "\047\\\047\047", text)
	return text
}
function see(path) { if (!(path in seen)) { seen[path] = 1; order[n++] = path } }
$1 == "verb" {
	parent = name = $2
	sub(/.* /, "", name)
	if (!sub(/ [^ ]*$/, "", parent)) parent = ""
	verbs[parent] = verbs[parent] " \047" name ":" quote($5) "\047"
	see($2); see(parent)
}
$1 == "opt" {
	value = $4
	what = ""
	if (value ~ /^[a-z]+(\|[a-z]+)+$/) { what = value; gsub(/\|/, " ", what); what = "(" what ")" }
	else if (value ~ /^DIR/) what = "_files -/"
	else if (value ~ /^(FILE|PATH)/) what = "_files"
	many = value ~ /\.\.\.$/ ? "*" : ""
	line = many $3 (value == "" ? "" : "=") "[" quote($5) "]"
	if (value != "") line = line ":" quote(value) ":" what
	opts[$2] = opts[$2] " \047" line "\047"
	see($2)
}
END {
	print "#compdef " program
	print "# zsh completion for " program ", made from what it tells of itself"
	print "_" fn "() {"
	print "\tlocal -a verbs opts"
	print "\tlocal name=$1 context state state_descr line"
	print "\ttypeset -A opt_args"
	print "\tcase $name in"
	for (k = 0; k < n; k++)
		print "\t\047" order[k] "\047) verbs=(" verbs[order[k]] ") opts=(" opts[order[k]] ") ;;"
	print "\tesac"
	print "\tif (( ! $#verbs )); then"
	print "\t\t_arguments -S $opts \047*:file:_files\047"
	print "\t\treturn"
	print "\tfi"
	print "\t_arguments -C -S $opts \047(-)1: :->verb\047 \047(-)*:: :->rest\047"
	print "\tcase $state in"
	print "\tverb) _describe verb verbs ;;"
	print "\trest) _" fn " ${name:+$name }$line[1] ;;"
	print "\tesac"
	print "}"
	print "_" fn " \"\""
}
