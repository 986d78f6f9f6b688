// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"encoding/xml"
	"net/url"
	"strings"
	"time"
)

// STS answers the operations of the Security Token Service that credentials are
// made with. The answer is XML.
func (s *Service) STS(form url.Values) ([]byte, error) {
	const request = "00000000-0000-4000-8000-000000000000"
	switch operation := form.Get("Action"); operation {
	case "GetCallerIdentity":
		return xml.Marshal(struct {
			XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
			ARN     string   `xml:"GetCallerIdentityResult>Arn"`
			UserID  string   `xml:"GetCallerIdentityResult>UserId"`
			Account string   `xml:"GetCallerIdentityResult>Account"`
			Request string   `xml:"ResponseMetadata>RequestId"`
		}{ARN: "arn:aws:iam::" + AccountID + ":user/rehearsal", UserID: "AIDAREHEARSAL", Account: AccountID, Request: request})
	case "AssumeRole", "AssumeRoleWithWebIdentity":
		return s.assume(operation, form)
	default:
		return nil, &apiError{"InvalidAction", "The action " + operation + " is not valid for this endpoint.", 400}
	}
}

func (s *Service) assume(operation string, form url.Values) ([]byte, error) {
	role, session := form.Get("RoleArn"), form.Get("RoleSessionName")
	_, name, ok := strings.Cut(role, ":role/")
	switch {
	case !ok:
		return nil, &apiError{"ValidationError", "Request ARN is invalid", 400}
	case session == "":
		return nil, &apiError{"ValidationError", "1 validation error detected: Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null", 400}
	case operation == "AssumeRoleWithWebIdentity" && form.Get("WebIdentityToken") == "":
		return nil, &apiError{"InvalidIdentityToken", "No token was given", 400}
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
	inner := result{credentials{"ASIAREHEARSAL", "rehearsal", "rehearsal", s.o.Now().Add(time.Hour).UTC().Format(time.RFC3339)},
		"arn:aws:sts::" + AccountID + ":assumed-role/" + name + "/" + session, "AROAREHEARSAL:" + session}
	type envelope struct {
		XMLName xml.Name
		Result  struct {
			XMLName xml.Name
			result
		}
	}
	var e envelope
	e.XMLName = xml.Name{Space: "https://sts.amazonaws.com/doc/2011-06-15/", Local: operation + "Response"}
	e.Result.XMLName = xml.Name{Local: operation + "Result"}
	e.Result.result = inner
	return xml.Marshal(e)
}
