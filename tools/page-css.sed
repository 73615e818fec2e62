# page-css.sed: a style sheet, smaller, as the lines of a C string
#
# The lines are joined without a space.
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
