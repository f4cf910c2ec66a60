// Only marks this folder; each version of the client has a file of its own, that build.sh names.
module tidegate/load

go 1.19
