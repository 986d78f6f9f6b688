# A model file, registered and served by one apply. In rehearsal: no account is
# needed and nothing leaves this machine.
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
  rehearsal = { state_dir = ".ml-rehearsal" } # remove this line to do it for real
}

variable "model_file" {
  type    = string
  default = "model/fraud-v1.onnx"
}

resource "ml_model" "fraud" {
  platform    = "sagemaker"
  name        = "fraud"
  description = "Scores card payments for fraud"

  artifact = {
    uri    = var.model_file
    format = "onnx"
  }

  aliases = ["champion"]
}

resource "ml_endpoint" "fraud" {
  platform = "sagemaker"
  name     = "fraud"

  deployments = {
    main = {
      model   = ml_model.fraud.version_id
      compute = { cpu = 2, memory_gib = 8 }
      scaling = {
        min     = 1
        max     = 4
        metrics = [{ type = "requests_per_replica", target = 200 }]
      }
    }
  }
}

output "version_id" {
  value = ml_model.fraud.version_id
}

output "instance_type" {
  value = ml_endpoint.fraud.deployments["main"].instance_type
}

output "url" {
  value = ml_endpoint.fraud.url
}
