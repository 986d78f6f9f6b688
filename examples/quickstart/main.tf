# One model file, registered and served on every platform of the list by one apply:
# the same text for all of them. In rehearsal: no account and no cluster is needed,
# and nothing leaves this machine.
#
#   terraform apply
#   terraform apply -var model_file=model/fraud-v2.onnx   # publish the next version
#   terraform destroy

terraform {
  required_providers {
    ml = {
      source = "registry.terraform.io/mlplane/ml"
    }
  }
}

provider "ml" {
  sagemaker = { region = "eu-west-1" }
  vertex_ai = { project = "my-project", region = "europe-west4" }
  azure_ml  = {} # the subscription, resource_group and workspace, when it is for real
  kubernetes = {
    namespace = "default"
    gateway   = { name = "shared", namespace = "infra", hostname = "models.example.com" }
  }
  rehearsal = { state_dir = ".ml-rehearsal" } # remove this line to do it for real
}

variable "platforms" {
  type    = set(string)
  default = ["sagemaker", "vertex_ai", "azure_ml", "kubernetes"]
}

variable "model_file" {
  type    = string
  default = "model/fraud-v1.onnx"
}

resource "ml_model" "fraud" {
  for_each = var.platforms

  platform    = each.key
  name        = "fraud"
  description = "Scores card payments for fraud"

  artifact = {
    uri    = var.model_file
    format = "onnx"
  }

  aliases = ["champion"]
}

resource "ml_endpoint" "fraud" {
  for_each = var.platforms

  platform = each.key
  name     = "fraud"

  deployments = {
    main = {
      model   = ml_model.fraud[each.key].version_id
      compute = { cpu = 2, memory_gib = 8 }
      scaling = {
        min     = 1
        max     = 4
        metrics = [{ type = "cpu", target = 60 }]
      }
    }
  }
}

output "version_id" {
  value = { for platform, model in ml_model.fraud : platform => model.version_id }
}

output "instance_type" {
  value = { for platform, endpoint in ml_endpoint.fraud : platform => endpoint.deployments["main"].instance_type }
}

output "url" {
  value = { for platform, endpoint in ml_endpoint.fraud : platform => endpoint.url }
}
