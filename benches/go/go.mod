module lameduck.test/context

go 1.22
