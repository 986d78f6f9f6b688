#!/usr/bin/env python3
# Copyright (c) The terraform-provider-ml Authors
# SPDX-License-Identifier: MPL-2.0
"""Extracts the constraints of the operations that the emulator serves.

Reads the service models that come with botocore, keeps types, required members,
lengths, ranges, patterns and enumerations, drops every word of documentation,
and writes constraints.json.gz beside this file. Run it with a newer botocore to
learn newer constraints:

    python3 generate.py
"""
import gzip
import json
import os

import botocore

SERVICES = {
    "sagemaker": ("sagemaker/2017-07-24", """
        CreateModelPackageGroup DescribeModelPackageGroup ListModelPackageGroups DeleteModelPackageGroup
        CreateModelPackage DescribeModelPackage UpdateModelPackage DeleteModelPackage ListModelPackages BatchDescribeModelPackage
        CreateModel DescribeModel ListModels DeleteModel
        CreateEndpointConfig DescribeEndpointConfig ListEndpointConfigs DeleteEndpointConfig
        CreateEndpoint DescribeEndpoint UpdateEndpoint UpdateEndpointWeightsAndCapacities ListEndpoints DeleteEndpoint
        AddTags ListTags DeleteTags"""),
    "application-autoscaling": ("application-autoscaling/2016-02-06", """
        RegisterScalableTarget DescribeScalableTargets DeregisterScalableTarget PutScalingPolicy DescribeScalingPolicies
        DeleteScalingPolicy PutScheduledAction DescribeScheduledActions DeleteScheduledAction TagResource UntagResource
        ListTagsForResource"""),
    "monitoring": ("cloudwatch/2010-08-01", """
        PutMetricAlarm DescribeAlarms DescribeAlarmHistory DeleteAlarms SetAlarmState GetMetricData
        TagResource UntagResource ListTagsForResource"""),
    "sts": ("sts/2011-06-15", "AssumeRole AssumeRoleWithWebIdentity GetCallerIdentity"),
}
# Fields that newer releases of the service have and this botocore may not.
NEWER = {"ProductionVariantInstanceType": ["ml.g7.%dxlarge" % n for n in (2, 4, 8, 12, 24, 48)]}


def prune(model, operations):
    shapes, todo, inputs, outputs = {}, [], {}, {}
    for name in operations:
        inputs[name] = model["operations"][name]["input"]["shape"]
        todo.append(inputs[name])
        if "output" in model["operations"][name]:
            outputs[name] = model["operations"][name]["output"]["shape"]
            todo.append(outputs[name])
    while todo:
        name = todo.pop()
        if name in shapes:
            continue
        s = model["shapes"][name]
        out = {"t": s["type"]}
        for key in ("min", "max", "pattern"):
            if key in s:
                out[key] = s[key]
        if "enum" in s:
            out["enum"] = sorted(set(s["enum"] + NEWER.get(name, [])))
        if s["type"] == "structure":
            out["r"] = s.get("required", [])
            out["m"] = {m: v["shape"] for m, v in s["members"].items()}
            todo += out["m"].values()
        elif s["type"] == "list":
            out["e"] = s["member"]["shape"]
            todo.append(out["e"])
        elif s["type"] == "map":
            out["k"], out["v"] = s["key"]["shape"], s["value"]["shape"]
            todo += [out["k"], out["v"]]
        shapes[name] = out
    return {"operations": inputs, "outputs": outputs, "shapes": shapes}


def main():
    data = os.path.join(os.path.dirname(botocore.__file__), "data")
    result = {}
    for service, (path, operations) in SERVICES.items():
        with gzip.open(os.path.join(data, path, "service-2.json.gz")) as f:
            result[service] = prune(json.load(f), operations.split())
    text = json.dumps(result, sort_keys=True, separators=(",", ":")).encode()
    target = os.path.join(os.path.dirname(os.path.abspath(__file__)), "constraints.json.gz")
    with open(target, "wb") as f:
        f.write(gzip.compress(text, mtime=0))
    print("%d bytes, compressed %d" % (len(text), os.path.getsize(target)))


if __name__ == "__main__":
    main()
