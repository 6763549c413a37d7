variable "name" {
  description = "What names of all that is made begin with."
  type        = string
  default     = "ganger"
}

variable "vpc_id" {
  description = "The VPC of the workers; the default one of the region when left out."
  type        = string
  default     = null
}

variable "subnet_ids" {
  description = "Subnets of the workers, in as many zones as there are; all of the VPC when left out."
  type        = list(string)
  default     = []
}

variable "image_id" {
  description = "The workers' image, for the launch template."
  type        = string
}

variable "root_device" {
  description = "The device of the image's root volume."
  type        = string
  default     = "/dev/xvda"
}

variable "volume_size" {
  description = "GiB of a worker's root volume."
  type        = number
  default     = 30
}

variable "master_ports" {
  description = "Where workers connect and enroll: `listen` and `enroll` of [master]."
  type        = list(number)
  default     = [9989, 9990]
}

variable "queues" {
  description = "Pools that hear of interruptions from a queue of their own."
  type        = set(string)
  default     = []
}

variable "tags" {
  description = "More tags of all that is made."
  type        = map(string)
  default     = {}
}
