# page-css.sed: a style sheet, smaller, as the lines of a C string
#
# Each line ends where a space would not matter: after { } ; or a comma.
s/^ *//
/^\/\*/d
/^$/d
s/\([:,]\) /\1/g
s/ {/{/
s/{ /{/
s/; }/}/
s/; /;/g
s/[\\"]/\\&/g
s/.*/    "&"/
