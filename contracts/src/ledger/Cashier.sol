// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IEnergyLedger} from "../interfaces/IEnergyLedger.sol";
import {Accounts} from "./Accounts.sol";

/// @title Cashier: money in and out of the ledger
abstract contract Cashier is Accounts, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @dev What an account wants to take out, and which of its signed withdrawals comes next.
    struct Exit {
        uint64 requestedMicro;
        uint40 availableAt;
        uint64 nonce;
    }

    bytes32 private constant _WITHDRAWAL_TYPE_HASH = keccak256(
        "Withdrawal(address account,address to,uint256 moneyMicro,uint256 relayFeeMicro,"
        "uint256 nonce,uint256 deadline)"
    );

    /// @dev Seconds from the end of the exit delay in which the money can be taken.
    uint256 private constant _EXIT_OPEN_S = 1 days;

    mapping(address account => Exit) private _exits;

    /* IN */

    /// @inheritdoc IEnergyLedger
    function deposit(uint256 moneyMicro) external nonReentrant returns (uint256) {
        return _deposit(msg.sender, moneyMicro);
    }

    /// @inheritdoc IEnergyLedger
    function depositFor(address account, uint256 moneyMicro)
        external
        nonReentrant
        returns (uint256)
    {
        if (account == address(0)) revert RecipientInvalid(account);
        return _deposit(account, moneyMicro);
    }

    /// @inheritdoc IEnergyLedger
    function depositWithPermit(uint256 moneyMicro, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        nonReentrant
        returns (uint256)
    {
        // Whoever saw the permit may have used it already; then the allowance is there.
        try IERC20Permit(currency)
            .permit(msg.sender, address(this), moneyMicro, deadline, v, r, s) {}
            catch {}
        return _deposit(msg.sender, moneyMicro);
    }

    /// @inheritdoc IEnergyLedger
    function depositWithAuthorization(
        address from,
        uint256 moneyMicro,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant returns (uint256) {
        uint256 before = _balance();
        IERC3009(currency)
            .receiveWithAuthorization(
                from, address(this), moneyMicro, validAfter, validBefore, nonce, v, r, s
            );
        return _credit(from, from, before);
    }

    /* OUT */

    /// @inheritdoc IEnergyLedger
    function requestWithdrawal(uint256 moneyMicro) external nonReentrant {
        _request(msg.sender, moneyMicro);
    }

    /// @inheritdoc IEnergyLedger
    function requestWithdrawalFor(Withdrawal calldata withdrawal, bytes32 r, bytes32 vs)
        external
        nonReentrant
    {
        _checkWithdrawal(withdrawal, r, vs);
        uint256 neededMicro = withdrawal.moneyMicro + withdrawal.relayFeeMicro;
        Exit memory exit = _exits[withdrawal.account];
        // Brought again, it must not start the delay again.
        bool open = block.timestamp <= exit.availableAt + _EXIT_OPEN_S;
        if (open && exit.requestedMicro >= neededMicro) return;
        _request(withdrawal.account, neededMicro);
    }

    /// @inheritdoc IEnergyLedger
    function withdraw(uint256 moneyMicro, address to) external nonReentrant {
        _spendRequest(msg.sender, moneyMicro);
        _takeMoney(msg.sender, moneyMicro);
        _send(msg.sender, to, moneyMicro);
    }

    /// @inheritdoc IEnergyLedger
    function relayWithdrawal(Withdrawal calldata withdrawal, bytes32 r, bytes32 vs)
        external
        nonReentrant
    {
        _checkWithdrawal(withdrawal, r, vs);
        address account = withdrawal.account;
        _exits[account].nonce += 1;
        uint256 neededMicro = withdrawal.moneyMicro + withdrawal.relayFeeMicro;
        if (msg.sender != _totals.settler) _spendRequest(account, neededMicro);
        _takeMoney(account, neededMicro);
        _send(account, withdrawal.to, withdrawal.moneyMicro);
        if (withdrawal.relayFeeMicro != 0) _send(account, msg.sender, withdrawal.relayFeeMicro);
    }

    /// @inheritdoc IEnergyLedger
    function collectFees() external nonReentrant {
        uint256 moneyMicro = _totals.feesMicro;
        if (moneyMicro == 0) revert AmountZero();
        _totals.feesMicro = 0;
        _addMoney(_feeAccount, moneyMicro);
        emit FeesCollected(_feeAccount, moneyMicro);
    }

    /// @inheritdoc IEnergyLedger
    function withdrawalOf(address account)
        external
        view
        returns (uint256 requestedMicro, uint256 availableAt, uint256 nonce)
    {
        Exit memory exit = _exits[account];
        return (exit.requestedMicro, exit.availableAt, exit.nonce);
    }

    /// @inheritdoc IEnergyLedger
    function feesMicro() external view returns (uint256) {
        return _totals.feesMicro;
    }

    /* PRIVATE */

    function _deposit(address account, uint256 moneyMicro) private returns (uint256) {
        uint256 before = _balance();
        IERC20(currency).safeTransferFrom(msg.sender, address(this), moneyMicro);
        return _credit(account, msg.sender, before);
    }

    /// @dev Credit what has arrived since the balance was `before`.
    function _credit(address account, address from, uint256 before)
        private
        returns (uint256 creditedMicro)
    {
        if (_totals.paused) revert TradingPaused();
        creditedMicro = _balance() - before;
        if (creditedMicro == 0) revert AmountZero();
        _addMoney(account, creditedMicro);
        emit Deposited(account, from, creditedMicro);
    }

    function _request(address account, uint256 moneyMicro) private {
        uint256 availableAt = block.timestamp + _exitDelayS;
        Exit storage exit = _exits[account];
        exit.requestedMicro = moneyMicro.toUint64();
        exit.availableAt = uint40(availableAt);
        emit WithdrawalRequested(account, moneyMicro, availableAt);
    }

    function _spendRequest(address account, uint256 moneyMicro) private {
        Exit storage exit = _exits[account];
        uint256 requestedMicro = exit.requestedMicro;
        if (moneyMicro > requestedMicro) {
            revert WithdrawalNotRequested(account, requestedMicro, moneyMicro);
        }
        if (block.timestamp < exit.availableAt) {
            revert WithdrawalTooEarly(account, exit.availableAt);
        }
        uint256 lapsedAt = exit.availableAt + _EXIT_OPEN_S;
        if (block.timestamp > lapsedAt) revert WithdrawalLapsed(account, lapsedAt);
        exit.requestedMicro = uint64(requestedMicro - moneyMicro);
    }

    function _checkWithdrawal(Withdrawal calldata withdrawal, bytes32 r, bytes32 vs) private view {
        address account = withdrawal.account;
        if (block.timestamp > withdrawal.deadline) {
            revert WithdrawalExpired(account, withdrawal.deadline);
        }
        uint256 expected = _exits[account].nonce;
        if (withdrawal.nonce != expected) {
            revert WithdrawalNonceInvalid(account, withdrawal.nonce, expected);
        }
        _checkSigned(account, keccak256(abi.encode(_WITHDRAWAL_TYPE_HASH, withdrawal)), r, vs);
    }

    /// @dev Send money that was taken from the account.
    function _send(address account, address to, uint256 moneyMicro) private {
        if (moneyMicro == 0) revert AmountZero();
        if (to == address(0) || to == address(this)) revert RecipientInvalid(to);
        emit Withdrawn(account, to, moneyMicro);
        IERC20(currency).safeTransfer(to, moneyMicro);
    }

    function _balance() private view returns (uint256) {
        return IERC20(currency).balanceOf(address(this));
    }
}
