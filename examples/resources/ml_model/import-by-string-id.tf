import {
  to = ml_model.fraud
  id = "sagemaker/eu-west-1/fraud"
}
