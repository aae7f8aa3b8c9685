// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches} from "./Batches.sol";

/// @title Consents: what an account signs besides its orders, typed out once more
library Consents {
    function withdrawal(uint256 key, IEnergyLedger ledger, IEnergyLedger.Withdrawal memory wanted)
        internal
        view
        returns (bytes32 r, bytes32 vs)
    {
        bytes32 typeHash = keccak256(
            "Withdrawal(address account,address to,uint256 moneyMicro,uint256 relayFeeMicro,uint256 nonce,uint256 deadline)"
        );
        return sign(
            key,
            ledger,
            keccak256(
                abi.encode(
                    typeHash,
                    wanted.account,
                    wanted.to,
                    wanted.moneyMicro,
                    wanted.relayFeeMicro,
                    wanted.nonce,
                    wanted.deadline
                )
            )
        );
    }

    function mandate(uint256 key, IEnergyLedger ledger, IEnergyLedger.Mandate memory given)
        internal
        view
        returns (bytes32 r, bytes32 vs)
    {
        bytes32 typeHash = keccak256(
            "Mandate(address account,address delegate,uint40 validFrom,uint40 validUntil,uint48 energyPerIntervalMaxWh,int64 buyLimitMax,int64 sellLimitMin)"
        );
        return sign(
            key,
            ledger,
            keccak256(
                abi.encode(
                    typeHash,
                    given.account,
                    given.delegate,
                    given.validFrom,
                    given.validUntil,
                    given.energyPerIntervalMaxWh,
                    given.buyLimitMax,
                    given.sellLimitMin
                )
            )
        );
    }

    function correction(
        uint256 key,
        IEnergyLedger ledger,
        uint64 start,
        uint8 revision,
        bytes32 receiptsRoot,
        IEnergyLedger.CorrectionRow memory row
    ) internal view returns (bytes32 r, bytes32 vs) {
        bytes32 typeHash = keccak256(
            "Correction(address account,string market,uint64 deliveryStart,uint8 revision,int64 energyWh,int64 moneyMicro,bytes32 receiptsRoot)"
        );
        return sign(
            key,
            ledger,
            keccak256(
                abi.encode(
                    typeHash,
                    row.account,
                    keccak256(bytes(ledger.terms().market)),
                    start,
                    revision,
                    row.energyWh,
                    row.moneyMicro,
                    receiptsRoot
                )
            )
        );
    }

    function sign(uint256 key, IEnergyLedger ledger, bytes32 structHash)
        internal
        view
        returns (bytes32 r, bytes32 vs)
    {
        bytes32 digest =
            keccak256(abi.encodePacked(hex"1901", ledger.domainSeparator(), structHash));
        return Batches.compact(key, digest);
    }
}
