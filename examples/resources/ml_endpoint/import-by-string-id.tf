import {
  to = ml_endpoint.fraud
  id = "sagemaker/eu-west-1/fraud"
}
