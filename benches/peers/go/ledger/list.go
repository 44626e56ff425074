package ledger

import "slices"

// insert puts an item at index i of a list. A full list grows by a quarter: this
// wastes less memory than append, and most lists are short.
func insert[T any](list []T, i int, item T) []T {
	if len(list) == cap(list) {
		list = resize(list)
	}
	return slices.Insert(list, i, item)
}

// fit gives a list that was full before it was tidied another size if it is
// still nearly full, or nearly empty.
func fit[T any](list []T) []T {
	if free := cap(list) - len(list); free <= cap(list)/8 || len(list) < cap(list)/4 {
		return resize(list)
	}
	return list
}

// resize copies a list to a new one with space for a quarter more.
func resize[T any](list []T) []T {
	return append(make([]T, 0, len(list)+len(list)/4+1), list...)
}
