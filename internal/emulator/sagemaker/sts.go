// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"encoding/xml"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// STS answers the operations of the Security Token Service that credentials are
// made with. The answer is XML.
func (s *Service) STS(form url.Values, request string) ([]byte, error) {
	operation := form.Get("Action")
	if _, served := models()["sts"].Operations[operation]; !served {
		return nil, &apiError{"InvalidAction", "Could not find operation " + operation + " for version " + form.Get("Version"), 400}
	}
	in := obj{}
	for name := range form {
		in[name] = form.Get(name)
	}
	if n, err := strconv.Atoi(form.Get("DurationSeconds")); err == nil {
		in["DurationSeconds"] = float64(n)
	}
	for _, list := range []string{"Tags", "PolicyArns", "TransitiveTagKeys", "ProvidedContexts"} {
		delete(in, list) // empty lists are sent as such; members go by longer names
	}
	if refusal := validate("sts", operation, in); refusal != nil {
		return nil, refusal
	}
	switch operation {
	case "GetCallerIdentity":
		return xml.Marshal(struct {
			XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
			ARN     string   `xml:"GetCallerIdentityResult>Arn"`
			UserID  string   `xml:"GetCallerIdentityResult>UserId"`
			Account string   `xml:"GetCallerIdentityResult>Account"`
			Request string   `xml:"ResponseMetadata>RequestId"`
		}{ARN: "arn:aws:iam::" + AccountID + ":user/rehearsal", UserID: "AIDAREHEARSAL", Account: AccountID, Request: request})
	default:
		return s.assume(operation, form, request)
	}
}

func (s *Service) assume(operation string, form url.Values, request string) ([]byte, error) {
	role, session := form.Get("RoleArn"), form.Get("RoleSessionName")
	_, name, ok := strings.Cut(role, ":role/")
	if !ok {
		return nil, &apiError{"ValidationError", "Request ARN is invalid", 400}
	}
	lasts := time.Hour
	if n, err := strconv.Atoi(form.Get("DurationSeconds")); err == nil {
		lasts = time.Duration(n) * time.Second
	}
	type credentials struct {
		AccessKeyID     string `xml:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      string
	}
	type result struct {
		Credentials credentials
		ARN         string `xml:"AssumedRoleUser>Arn"`
		ID          string `xml:"AssumedRoleUser>AssumedRoleId"`
	}
	inner := result{credentials{"ASIAREHEARSAL", "rehearsal", "rehearsal", s.o.Now().Add(lasts).UTC().Format(time.RFC3339)},
		"arn:aws:sts::" + AccountID + ":assumed-role/" + name + "/" + session, "AROAREHEARSAL:" + session}
	type envelope struct {
		XMLName xml.Name
		Result  struct {
			XMLName xml.Name
			result
		}
		Request string `xml:"ResponseMetadata>RequestId"`
	}
	var e envelope
	e.XMLName = xml.Name{Space: "https://sts.amazonaws.com/doc/2011-06-15/", Local: operation + "Response"}
	e.Result.XMLName = xml.Name{Local: operation + "Result"}
	e.Result.result, e.Request = inner, request
	return xml.Marshal(e)
}
