package caddyiis

// APIMethods lists the methods of each resource of the admin API, by path.
func APIMethods() map[string][]string {
	methods := make(map[string][]string)
	for i := range resources {
		methods[resources[i].path] = resources[i].methods()
	}
	return methods
}

// APIParameters lists the parameters of GET that the resources of the API check.
func APIParameters() map[string][]string {
	parameters := make(map[string][]string)
	for i := range resources {
		if resources[i].answer != nil {
			parameters[resources[i].path] = resources[i].parameters
		}
	}
	return parameters
}
